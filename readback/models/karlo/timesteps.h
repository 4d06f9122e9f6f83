// Timesteps as networks are told them.
#pragma once
#include <ATen/core/Tensor.h>

namespace readback::models {

// Cosines, then sines, of `width` / 2 frequencies each: timesteps [B], any numeric type → fp32 [B, width]. diffusers'
// Timesteps with flip_sin_to_cos and without a shift.
at::Tensor timestep_waves(const at::Tensor& timesteps, int64_t width);

// Additive masks, 0 where `seen` (bool, any shape) and else so low that the softmax gives 0.
at::Tensor additive_mask(const at::Tensor& seen, c10::ScalarType dtype);

}  // namespace readback::models
