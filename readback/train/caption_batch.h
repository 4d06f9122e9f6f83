// Captions as a captioner learns them: behind the picture and its prompt, which are read but not learned.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "readback/caption/token_captioner.h"

namespace readback::train {

struct CaptionBatch {
  caption::Texts texts;
  // int64 [S, L + 1], on the models' device, as TokenCaptioner::logits() says of a caption and its end token: label
  // t + 1 is what logit t predicts; -100 where nothing is learned.
  at::Tensor labels;
};

// Of captions behind pictures of these sizes, 0 × 0 for all that are one piece. Captions of more than 36 tokens, the
// end token included, are cut, as BLIP's that have 40 with its prompt; the end token stays.
struct PictureSize {
  int64_t width = 0, height = 0;
};
CaptionBatch caption_batch(const caption::TokenCaptioner& captioner, std::span<const std::string> captions,
                           std::span<const PictureSize> sizes, c10::Device device);
// The same of texts that are written already.
CaptionBatch caption_batch(std::span<const caption::Written> written, c10::Device device);

// Pictures of one piece each, [B, P, C], and one text for each.
caption::Pictures one_each(const at::Tensor& patches);
// The same pictures with `count` texts of each, side by side.
caption::Pictures repeated(const caption::Pictures& pictures, int64_t count);

// Mean next-token cross entropy of logits [S, L + 1, V].
at::Tensor caption_loss(const at::Tensor& logits, const at::Tensor& labels, double label_smoothing);

// As BLIP prepares captions for training: lower case, ASCII . ! " ( ) * # : ; ~ and runs of white space as one space,
// 30 words at most.
std::string prepare_caption(const std::string& caption);

}  // namespace readback::train
