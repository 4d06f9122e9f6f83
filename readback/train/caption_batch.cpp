#include "readback/train/caption_batch.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <sstream>
#include <string_view>

#include "readback/caption/blip_captioner.h"
#include "readback/text/unicode.h"

namespace readback::train {

int64_t prompt_tokens(const text::Tokenizer& tokenizer) {
  return static_cast<int64_t>(tokenizer.encode(caption::kBlipPrompt).size());
}

CaptionBatch caption_batch(const text::Tokenizer& tokenizer, const models::BlipTextConfig& config,
                           const std::vector<std::string>& captions, int64_t longest) {
  const auto most = static_cast<size_t>(std::min(longest, config.max_position_embeddings) - 2);
  std::vector<std::vector<int64_t>> texts;
  size_t longest_text = 0;
  for (const std::string& caption : captions) {
    texts.push_back(tokenizer.encode(caption::kBlipPrompt + caption));
    texts.back().resize(std::min(texts.back().size(), most));
    longest_text = std::max(longest_text, texts.back().size());
  }
  const int64_t prompt = prompt_tokens(tokenizer);
  const auto rows = static_cast<int64_t>(texts.size()), columns = static_cast<int64_t>(longest_text) + 2;
  CaptionBatch batch{at::full({rows, columns}, config.pad_token_id, at::kLong),
                     at::full({rows, columns}, -100, at::kLong)};
  for (int64_t row = 0; row < rows; ++row) {
    const std::vector<int64_t>& text = texts[static_cast<size_t>(row)];
    int64_t* id = batch.ids[row].data_ptr<int64_t>();
    int64_t* label = batch.labels[row].data_ptr<int64_t>();
    id[0] = config.bos_token_id;
    std::copy(text.begin(), text.end(), id + 1);
    id[text.size() + 1] = config.sep_token_id;
    std::copy(id + 1 + prompt, id + text.size() + 2, label + 1 + prompt);
  }
  return batch;
}

std::string prepare_caption(const std::string& caption) {
  constexpr size_t kWords = 30;
  constexpr std::string_view kDropped = ".!\"()*#:;~";
  std::string text = text::encode_utf8(text::lower(text::decode_utf8(caption)));
  std::replace_if(
      text.begin(), text.end(), [&](char c) { return kDropped.find(c) != std::string_view::npos; }, ' ');
  std::istringstream words(text);
  std::string prepared, word;
  for (size_t count = 0; count < kWords && words >> word; ++count) {
    if (count > 0) prepared += ' ';
    prepared += word;
  }
  return prepared;
}

}  // namespace readback::train
