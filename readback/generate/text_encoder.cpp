#include "readback/generate/text_encoder.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "readback/base/error.h"
#include "readback/models/part.h"

namespace readback::generate {

TextEncoder::TextEncoder(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype,
                         const std::string& model, const std::string& tokenizer)
    : tokenizer_(text::load_clip_tokenizer(repository.vocabulary(tokenizer))),
      model_(models::load_part<models::ClipTextModel>(repository, model, device, dtype).model) {
  const std::string where = repository.name() + "/" + tokenizer;
  framing_ = text::clip_framing(*tokenizer_, config().max_position_embeddings, where);
  if (tokenizer_->vocabulary_size() > config().vocab_size) {
    throw CheckpointError(describe(where,
                                   fmt::format("{} tokens at most, as the text encoder has", config().vocab_size),
                                   std::to_string(tokenizer_->vocabulary_size())));
  }
}

TextStates TextEncoder::encode(std::span<const std::string> prompts) const {
  TextStates result;
  std::unordered_map<std::string, int64_t> row_of;
  std::vector<text::Padded> distinct;
  for (const std::string& prompt : prompts) {
    const auto [found, is_new] = row_of.try_emplace(prompt, std::ssize(distinct));
    if (is_new) distinct.push_back(framing_(tokenizer_->encode(prompt)));
    result.rows.push_back(found->second);
    result.truncated.push_back(distinct[static_cast<size_t>(found->second)].truncated);
  }
  at::Tensor ids = at::empty({std::ssize(distinct), framing_.length}, at::kLong);
  int64_t* out = ids.data_ptr<int64_t>();
  for (const text::Padded& text : distinct) out = std::copy(text.ids.begin(), text.ids.end(), out);
  result.states = model_->forward(ids.to(model_->token_embedding.weight.device())).last_hidden_state;
  return result;
}

}  // namespace readback::generate
