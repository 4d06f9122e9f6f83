// Prompts to what a denoiser reads of them. N distinct prompts, T tokens, D text width.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "readback/checkpoint/repository.h"
#include "readback/models/clip/clip.h"
#include "readback/text/framing.h"

namespace readback::generate {

struct TextStates {
  at::Tensor states;               // [N, T, D]
  at::Tensor pooled;               // [N, P], of Stable Diffusion XL's pair; else undefined
  std::vector<int64_t> rows;       // of each prompt: its row of `states`
  std::vector<int64_t> truncated;  // of each prompt: its tokens that did not fit
};

// CLIP's text model and its tokenizer; or Stable Diffusion XL's pair of them, of which the states before the last
// layers stand side by side, with the second's projection as the pooled text.
class TextEncoder {
 public:
  // The folders `model` and `tokenizer` of a pipeline. Errors: CheckpointError.
  TextEncoder(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype,
              const std::string& model = "text_encoder", const std::string& tokenizer = "tokenizer");

  // The folders text_encoder, tokenizer, text_encoder_2 and tokenizer_2. Errors: CheckpointError.
  static TextEncoder pair(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype);

  // Equal prompts are read once.
  TextStates encode(std::span<const std::string> prompts) const;
  const models::ClipTextConfig& config() const { return towers_.front().model->config; }
  int64_t max_tokens() const { return towers_.front().framing.length; }  // begin and end token included

 private:
  struct Tower {
    std::unique_ptr<text::Tokenizer> tokenizer;
    std::unique_ptr<models::ClipTextModel> model;
    nn::Linear projection;  // of the second of a pair
    text::Framing framing;
    Tower(const checkpoint::Repository& repository, const std::string& tokenizer,
          std::unique_ptr<models::ClipTextModel> model);
    models::ClipOutput read(const std::vector<std::string>& prompts, std::vector<int64_t>& truncated) const;
  };
  TextEncoder() = default;
  std::vector<Tower> towers_;  // one or two
};

}  // namespace readback::generate
