#include "readback/score/sentence_embedder.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <vector>

#include "readback/base/error.h"
#include "readback/base/halving.h"
#include "readback/text/unicode.h"

namespace readback::score {

namespace {

using checkpoint::ConfigReader;

ConfigReader reader(const checkpoint::Repository& repository, const std::string& file) {
  return {repository.json(file), repository.path().string() + "/" + file};
}

// Where the three modules of the pipeline lie; the last is optional.
struct Modules {
  std::string transformer, pooling;  // folders, "" or with a slash at the end
  bool normalize = false;
};

Modules read_modules(const checkpoint::Repository& repository) {
  const std::string where = repository.path().string() + "/modules.json";
  const nlohmann::json list = repository.json("modules.json");
  Modules modules;
  std::string found;
  for (const auto& module : list.is_array() ? list : nlohmann::json::array()) {
    const std::string type = module.value("type", ""), path = module.value("path", "");
    const std::string name = type.substr(type.rfind('.') + 1), folder = path.empty() ? "" : path + "/";
    found += (found.empty() ? "" : ", ") + name;
    if (name == "Transformer") modules.transformer = folder;
    if (name == "Pooling") modules.pooling = folder;
    if (name == "Normalize") modules.normalize = true;
  }
  if (found != "Transformer, Pooling" && found != "Transformer, Pooling, Normalize") {
    throw CheckpointError(describe(where, "the modules Transformer, Pooling and perhaps Normalize", found));
  }
  return modules;
}

// True: the mean over the tokens, false: the class token. Releases up to 5 have a flag for each way of pooling.
bool read_mean_pooling(ConfigReader config) {
  const nlohmann::json modes = config.raw();
  const auto is_on = [&](const char* key) { return config.get<bool>(key, false); };
  std::string mode = config.get<std::string>("pooling_mode", "");
  if (mode.empty()) {
    const bool mean = is_on("pooling_mode_mean_tokens"), first = is_on("pooling_mode_cls_token");
    if (mean != first) mode = mean ? "mean" : "cls";
    for (const char* other : {"max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"}) {
      config.expect("pooling_mode_" + std::string(other), {false});
    }
  }
  if (mode != "mean" && mode != "cls") {
    throw CheckpointError(describe(config.where(), "pooling by the mean or by the class token", modes.dump()));
  }
  config.expect("include_prompt", {true});
  config.ignore({"word_embedding_dimension", "embedding_dimension"});
  config.finish();
  return mode == "mean";
}

// Texts are encoded as they are: a prompt before each would change what they mean.
void expect_no_prompt(const checkpoint::Repository& repository) {
  const std::string file = "config_sentence_transformers.json";
  if (repository.has(file)) reader(repository, file).expect("default_prompt_name", {nullptr});
}

}  // namespace

SentenceEmbedder::SentenceEmbedder(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype)
    : name_(repository.name()), device_(device) {
  const Modules modules = read_modules(repository);
  normalize_ = modules.normalize;
  mean_pooling_ = read_mean_pooling(reader(repository, modules.pooling + "config.json"));
  expect_no_prompt(repository);
  const models::BertConfig config = models::BertConfig::read(reader(repository, modules.transformer + "config.json"));
  tokenizer_ = text::load_bert_tokenizer(repository.path() / modules.transformer);
  begin_id_ = tokenizer_->special_id("cls_token");
  end_id_ = tokenizer_->special_id("sep_token");
  padding_id_ = std::max<int64_t>(0, tokenizer_->special_id("pad_token"));
  max_tokens_ = config.max_position_embeddings;
  if (tokenizer_->max_length() > 0) max_tokens_ = std::min(max_tokens_, tokenizer_->max_length());
  if (const std::string file = modules.transformer + "sentence_bert_config.json"; repository.has(file)) {
    ConfigReader options = reader(repository, file);
    max_tokens_ = std::min(options.get("max_seq_length", max_tokens_), config.max_position_embeddings);
    lower_case_ = options.get("do_lower_case", false);
  }
  if (begin_id_ < 0 || end_id_ < 0 || max_tokens_ < 2) {
    throw CheckpointError(describe(repository.path().string(), "[CLS], [SEP] and a max_seq_length of at least 2",
                                   "a tokenizer without them"));
  }
  const nn::Weights weights =
      nn::Weights(repository.tensors(modules.transformer), device, dtype, repository.path().string()).for_inference();
  bert_ = std::make_unique<models::Bert>(config, weights);
  weights.finish();
}

// hidden: [B, T, C], lengths: [B] → [B, C], fp32
at::Tensor SentenceEmbedder::pool(const at::Tensor& hidden, const at::Tensor& lengths) const {
  if (!mean_pooling_) return hidden.select(1, 0).to(at::kFloat);
  const at::Tensor mask = at::arange(hidden.size(1), lengths.options()).unsqueeze(0) < lengths.unsqueeze(1);  // [B, T]
  const at::Tensor sum = (hidden.to(at::kFloat) * mask.unsqueeze(2)).sum(1);
  return sum / lengths.to(at::kFloat).unsqueeze(1);
}

Embeds SentenceEmbedder::embed_text_batch(std::span<const std::string> texts) {
  constexpr int64_t kBatch = 64;  // texts at a time
  c10::NoGradGuard no_grad;
  std::vector<std::vector<int64_t>> encoded;
  for (const std::string& text : texts) {
    encoded.push_back(tokenizer_->encode(lower_case_ ? text::encode_utf8(text::lower(text::decode_utf8(text))) : text));
  }
  // Texts of like length share a batch, so that there is little padding.
  std::vector<int64_t> order(texts.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return encoded[a].size() < encoded[b].size(); });
  at::Tensor pooled = at::empty({static_cast<int64_t>(texts.size()), bert_->config.hidden_size}, at::kFloat);
  in_parts_that_fit(std::ssize(order), kBatch, [&](int64_t begin, int64_t end) {
    const std::span<const int64_t> rows(order.data() + begin, static_cast<size_t>(end - begin));
    const auto length = std::min(max_tokens_, static_cast<int64_t>(encoded[rows.back()].size()) + 2);
    const auto batch = static_cast<int64_t>(rows.size());
    int64_t truncated = 0;
    at::Tensor ids = at::empty({batch, length}, at::kLong), lengths = at::empty({batch}, at::kLong);
    for (int64_t i = 0; i < batch; ++i) {
      const text::Padded padded = text::pad(encoded[rows[i]], begin_id_, end_id_, padding_id_, length);
      truncated += padded.truncated;
      lengths.mutable_data_ptr<int64_t>()[i] = padded.tokens;
      std::copy(padded.ids.begin(), padded.ids.end(), ids.mutable_data_ptr<int64_t>() + i * length);
    }
    const bool padding = lengths.min().item<int64_t>() < length;
    lengths = lengths.to(device_);
    const at::Tensor hidden = bert_->forward(ids.to(device_), padding ? std::optional(lengths) : std::nullopt);
    pooled.index_copy_(0, at::tensor(rows, at::kLong), pool(hidden, lengths).cpu());
    truncated_ += truncated;
  });
  if (!normalize_) return {pooled, pooled};
  return {pooled / pooled.norm(2, {1}, /*keepdim=*/true).clamp_min(1e-12), pooled};
}

Embeds SentenceEmbedder::embed_image_batch(std::span<const image::Image* const> /*images*/) {
  throw UsageError(describe("the sentence encoder", "texts", "images", "Compare images by CLIP or DINO"));
}

}  // namespace readback::score
