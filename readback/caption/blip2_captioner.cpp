#include "readback/caption/blip2_captioner.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "readback/base/device.h"
#include "readback/models/part.h"

namespace readback::caption {

namespace {

class OptSteps final : public StepModel {
 public:
  OptSteps(const models::Opt& model, int64_t capacity)
      : model_(model), cache_(model.config.num_hidden_layers, capacity) {}

  at::Tensor read(const at::Tensor& embeddings) {  // [S, T, C] → [S, V]
    return model_.logits(model_.forward(embeddings, &cache_).select(1, -1)).to(at::kFloat);
  }
  void select(const std::vector<int64_t>& /*groups*/, const std::vector<int64_t>& sources) override {
    cache_.select(sent(sources, device()));
  }
  at::Tensor step(const std::vector<int64_t>& tokens) override {
    return read(model_.embed_tokens(sent(tokens, device()).unsqueeze(1)));
  }

 private:
  c10::Device device() const { return model_.embed_tokens.weight.device(); }
  const models::Opt& model_;
  nn::KeyValueCache cache_;
};

class T5Steps final : public StepModel {
 public:
  T5Steps(const models::T5& model, models::T5State state) : model_(model), state_(std::move(state)) {}

  at::Tensor read(const at::Tensor& ids) {
    return model_.decode(ids, state_, /*cache=*/true).select(1, -1).to(at::kFloat);
  }
  void select(const std::vector<int64_t>& groups, const std::vector<int64_t>& sources) override {
    models::select(state_, sent(groups, device()), sent(sources, device()));
  }
  at::Tensor step(const std::vector<int64_t>& tokens) override { return read(sent(tokens, device()).unsqueeze(1)); }

 private:
  c10::Device device() const { return model_.shared.weight.device(); }
  const models::T5& model_;
  models::T5State state_;
};

// Of 64 tokens.
int64_t cached_values(const models::Blip2& model) {
  const int64_t layers = model.opt ? model.opt->config.num_hidden_layers : model.t5->config.num_decoder_layers;
  return 2 * layers * model.config.text_width() * 64;
}

}  // namespace

struct Blip2Captioner::Parts {
  std::shared_ptr<const models::Blip2> model;
  std::shared_ptr<const text::Tokenizer> tokenizer;
  image::PreprocessOptions preprocessing;
  About about;

  Parts(const checkpoint::Repository& repository, const nn::Weights& weights, std::string identity)
      : model(models::model_of<models::Blip2>(repository, weights)),
        tokenizer(text::load_tokenizer(repository.vocabulary())),
        preprocessing(image::read_preprocess_options(repository)),
        about{.description = fmt::format("BLIP-2 {}, {}", repository.title(),
                                         dtype_name(model->language_projection.bias.scalar_type())),
              .identity = std::move(identity),
              .batch_size = requests_at_once(cached_values(*model), model->language_projection.bias),
              .max_positions = model->opt ? model->opt->config.max_position_embeddings : 512,  // T5 learned from 512
              .end_tokens = caption::end_tokens(repository),
              .begin_token = model->opt ? model->opt->config.bos_token_id : model->t5->config.decoder_start_token_id,
              .vocabulary_size = model->opt ? model->opt->config.vocab_size : model->t5->config.vocab_size,
              .image_size = model->config.vision.image_size,
              .pieces_at_once = pieces_at_once(model->vision_model.position_embedding.size(1))} {}
};

Blip2Captioner::Blip2Captioner(const checkpoint::Repository& repository, const nn::Weights& weights,
                               std::string identity)
    : Blip2Captioner(Parts(repository, weights, std::move(identity))) {}

Blip2Captioner::Blip2Captioner(Parts parts)
    : TokenCaptioner(std::move(parts.about), std::move(parts.tokenizer), parts.preprocessing),
      model_(std::move(parts.model)),
      // Where an export names no token for the queries, any will do: their embeddings take its place.
      image_token_(model_->config.image_token_index.value_or(model_->opt ? model_->opt->config.eos_token_id : 1)) {}

DecodingOptions Blip2Captioner::defaults() const {
  return {.prompt = kBlip2Prompt, .num_beams = 5, .max_new_tokens = 30, .min_new_tokens = 8, .top_p = 0.9};
}

Reading Blip2Captioner::read(const Request& request, const std::string& prompt) const {
  refuse_examples(request, description());
  std::vector<int64_t> ids(static_cast<size_t>(model_->config.num_query_tokens), image_token_);
  for (const int64_t id : tokenizer().encode_with_special_tokens(prompt)) ids.push_back(id);
  if (model_->opt) return {.images = {&request.image}, .ids = std::move(ids)};
  return {.images = {&request.image}, .ids = {model_->t5->config.decoder_start_token_id}, .source_ids = std::move(ids)};
}

// OPT's tokens of a word differ behind a space, and the prompt ends without one.
std::vector<int64_t> Blip2Captioner::encode(const std::string& text) const {
  return tokenizer().encode(model_->opt ? " " + text : text);
}

at::Tensor Blip2Captioner::patches(const at::Tensor& pixels) const {
  return model_->vision_model.forward(pixels.to(model_->query_tokens.device()));
}

at::Tensor Blip2Captioner::image_tokens(const at::Tensor& patches) const {
  return model_->language_projection(model_->query_states(patches));
}

at::Tensor Blip2Captioner::embeddings(const Pictures& pictures, const Texts& texts) const {
  const at::Tensor& ids = model_->opt ? texts.ids : texts.source_ids;
  const at::Tensor queries = of_each_text(pictures);
  return model_->embeddings(queries, ids.slice(1, model_->config.num_query_tokens).to(queries.device()));
}

at::Tensor Blip2Captioner::text_logits(const Pictures& pictures, const Texts& texts) const {
  const at::Tensor read = embeddings(pictures, texts);
  if (model_->opt) return model_->opt->logits(asked(model_->opt->forward(read, nullptr), texts));
  models::T5State state = model_->t5->prepare(model_->t5->encode(read), 0);
  return asked(model_->t5->decode(texts.ids.to(read.device()), state, /*cache=*/false), texts);
}

TokenCaptioner::Started Blip2Captioner::start(const Pictures& pictures, const Texts& prompts,
                                              int64_t max_length) const {
  const at::Tensor read = embeddings(pictures, prompts);
  if (model_->opt) {
    auto steps = std::make_unique<OptSteps>(*model_->opt, max_length);
    const at::Tensor logits = steps->read(read);
    return {std::move(steps), logits};
  }
  auto steps = std::make_unique<T5Steps>(*model_->t5, model_->t5->prepare(model_->t5->encode(read), max_length));
  const at::Tensor logits = steps->read(prompts.ids.to(read.device()));
  return {std::move(steps), logits};
}

}  // namespace readback::caption
