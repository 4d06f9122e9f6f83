#include "readback/generate/text_encoder.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "readback/base/error.h"
#include "readback/models/part.h"

namespace readback::generate {

TextEncoder::Tower::Tower(const checkpoint::Repository& repository, const std::string& folder,
                          std::unique_ptr<models::ClipTextModel> loaded)
    : tokenizer(text::load_clip_tokenizer(repository.vocabulary(folder))), model(std::move(loaded)) {
  const std::string where = repository.name() + "/" + folder;
  const models::ClipTextConfig& config = model->config;
  framing = text::clip_framing(*tokenizer, config.max_position_embeddings, where);
  if (tokenizer->vocabulary_size() > config.vocab_size) {
    throw CheckpointError(describe(where, fmt::format("{} tokens at most, as the text encoder has", config.vocab_size),
                                   std::to_string(tokenizer->vocabulary_size())));
  }
}

models::ClipOutput TextEncoder::Tower::read(const std::vector<std::string>& prompts,
                                            std::vector<int64_t>& truncated) const {
  at::Tensor ids = at::empty({std::ssize(prompts), framing.length}, at::kLong);
  int64_t* out = ids.data_ptr<int64_t>();
  for (const std::string& prompt : prompts) {
    const text::Padded framed = framing(tokenizer->encode(prompt));
    truncated.push_back(framed.truncated);
    out = std::copy(framed.ids.begin(), framed.ids.end(), out);
  }
  return model->forward(ids.to(model->token_embedding.weight.device()));
}

TextEncoder::TextEncoder(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype,
                         const std::string& model, const std::string& tokenizer) {
  towers_.emplace_back(repository, tokenizer,
                       models::load_part<models::ClipTextModel>(repository, model, device, dtype).model);
}

TextEncoder TextEncoder::pair(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype) {
  TextEncoder encoder(repository, device, dtype);
  auto second = models::load_part<models::ClipTextModelWithProjection>(repository, "text_encoder_2", device, dtype);
  Tower& tower = encoder.towers_.emplace_back(
      repository, "tokenizer_2", std::make_unique<models::ClipTextModel>(std::move(second.model->text_model)));
  tower.projection = std::move(second.model->text_projection);
  if (tower.framing.length != encoder.max_tokens()) {
    throw CheckpointError(describe(repository.name() + "/tokenizer_2", fmt::format("{} tokens", encoder.max_tokens()),
                                   std::to_string(tower.framing.length)));
  }
  return encoder;
}

TextStates TextEncoder::encode(std::span<const std::string> prompts) const {
  TextStates result;
  std::unordered_map<std::string, int64_t> row_of;
  std::vector<std::string> distinct;
  for (const std::string& prompt : prompts) {
    const auto [found, is_new] = row_of.try_emplace(prompt, std::ssize(distinct));
    if (is_new) distinct.push_back(prompt);
    result.rows.push_back(found->second);
  }
  std::vector<int64_t> truncated, truncated_by_second;  // of the distinct prompts
  const models::ClipOutput first = towers_.front().read(distinct, truncated);
  result.states = first.last_hidden_state;
  if (towers_.size() > 1) {
    const models::ClipOutput second = towers_.back().read(distinct, truncated_by_second);
    result.states = at::cat({first.penultimate, second.penultimate}, -1);
    result.pooled = towers_.back().projection(second.pooler_output);
    for (size_t i = 0; i < truncated.size(); ++i) truncated[i] = std::max(truncated[i], truncated_by_second[i]);
  }
  for (const int64_t row : result.rows) result.truncated.push_back(truncated[static_cast<size_t>(row)]);
  return result;
}

}  // namespace readback::generate
