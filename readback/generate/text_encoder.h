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
  std::vector<int64_t> rows;       // of each prompt: its row of `states`
  std::vector<int64_t> truncated;  // of each prompt: its tokens that did not fit
};

// CLIP's text model and its tokenizer.
class TextEncoder {
 public:
  // The folders `model` and `tokenizer` of a pipeline. Errors: CheckpointError.
  TextEncoder(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype,
              const std::string& model = "text_encoder", const std::string& tokenizer = "tokenizer");

  // Equal prompts are read once.
  TextStates encode(std::span<const std::string> prompts) const;
  const models::ClipTextConfig& config() const { return model_->config; }
  int64_t max_tokens() const { return framing_.length; }  // begin and end token included

 private:
  std::unique_ptr<text::Tokenizer> tokenizer_;
  std::unique_ptr<models::ClipTextModel> model_;
  text::Framing framing_;
};

}  // namespace readback::generate
