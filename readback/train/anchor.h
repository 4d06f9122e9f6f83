// Anchors: what tuned models must not forget. B captions, T tokens, V vocabulary.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "readback/caption/token_captioner.h"
#include "readback/models/stable_diffusion/unet.h"
#include "readback/nn/weights.h"
#include "readback/train/unified_options.h"

namespace readback::train {

// The models before they are tuned. They share every tensor that is not trained with the tuned ones.
class StartingModels {
 public:
  // What the tuned models have been made of; `trained` as in the task, by "captioner.KEY" and "unet.KEY". To be made
  // before anything is trained, or restored. Low-rank adapters are left out, as they begin at zero.
  using MakeCaptioner = std::function<std::unique_ptr<caption::TokenCaptioner>(const nn::Weights&)>;
  StartingModels(const MakeCaptioner& make_captioner, const nn::Weights& captioner,
                 const models::UnetConfig& unet_config, const nn::Weights& unet,
                 const std::map<std::string, at::Tensor>& trained);

  const caption::TokenCaptioner& captioner() const { return *captioner_; }
  const models::Unet& unet() const { return unet_; }
  bool captioner_is_trained() const { return captioner_is_trained_; }
  bool unet_is_trained() const { return unet_is_trained_; }

  // ½ ‖θ - θ_start‖² in fp32, a scalar with gradients.
  at::Tensor half_squared_distance() const;

 private:
  nn::Weights captioner_weights_, unet_weights_;
  std::unique_ptr<const caption::TokenCaptioner> captioner_;
  models::Unet unet_;
  std::vector<std::pair<at::Tensor, at::Tensor>> parameters_;  // tuned, start
  bool captioner_is_trained_ = false, unet_is_trained_ = false;
};

// KL(p ‖ q) of the next token, averaged over the tokens that are learned. Logits [B, T, V], labels [B, T] as in
// CaptionBatch.
at::Tensor caption_divergence(const at::Tensor& p, const at::Tensor& q, const at::Tensor& labels);

}  // namespace readback::train
