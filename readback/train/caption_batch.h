// Captions as BLIP learns them: behind its prompt, caption::kBlipPrompt.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "readback/models/blip/blip.h"
#include "readback/text/tokenizer.h"

namespace readback::train {

struct CaptionBatch {
  at::Tensor ids, labels;  // int64 [B, T]: begin, prompt, caption, end, padding; labels -100 where nothing is learned
};

// Of captions without the prompt, which is put before each and, as in BLIP's fine-tuning, read but not learned. Texts
// of more than `longest` tokens, all included, are cut; the end token stays.
CaptionBatch caption_batch(const text::Tokenizer& tokenizer, const models::BlipTextConfig& config,
                           const std::vector<std::string>& captions, int64_t longest = 40);

// Tokens of the prompt.
int64_t prompt_tokens(const text::Tokenizer& tokenizer);

// As BLIP prepares captions for training: lower case, ASCII . ! " ( ) * # : ; ~ and runs of white space as one space,
// 30 words at most.
std::string prepare_caption(const std::string& caption);

}  // namespace readback::train
