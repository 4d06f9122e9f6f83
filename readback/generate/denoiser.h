// What a sampler asks a network. B samples of c × h × w latents, T tokens, D text width.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <vector>

#include "readback/models/stable_diffusion/unet.h"

namespace readback::generate {

// A network with the context that it reads beside the samples: texts, and whatever else it was trained with. The
// context has a row for each sample and is the same in all steps.
class Denoiser {
 public:
  virtual ~Denoiser() = default;
  // sample: [B, c, h, w]; timesteps: [B], any numeric type → fp32 [B, c, h, w]: the noise, the clean latents or the
  // velocity, as the scheduler's prediction_type says. Differentiable.
  virtual at::Tensor predict(const at::Tensor& sample, const at::Tensor& timesteps) const = 0;
  virtual c10::ScalarType dtype() const = 0;  // in which the network computes
};

// Stable Diffusion's, whose context is one text a sample, and what else the network was trained with.
class UnetDenoiser final : public Denoiser {
 public:
  // What all steps read of the conditions is computed here. `unet` must outlive this.
  UnetDenoiser(const models::Unet& unet, const models::UnetConditions& conditions)
      : unet_(unet), context_(unet.prepare(conditions)) {}
  // text: [B, T, D]
  UnetDenoiser(const models::Unet& unet, const at::Tensor& text)
      : UnetDenoiser(unet, models::UnetConditions{.text = text}) {}
  // The same network with the conditions `rows`, which may repeat.
  UnetDenoiser select(const std::vector<int64_t>& rows) const;

  at::Tensor predict(const at::Tensor& sample, const at::Tensor& timesteps) const override;
  c10::ScalarType dtype() const override;

 private:
  UnetDenoiser(const models::Unet& unet, models::UnetContext context) : unet_(unet), context_(std::move(context)) {}
  const models::Unet& unet_;
  models::UnetContext context_;
};

}  // namespace readback::generate
