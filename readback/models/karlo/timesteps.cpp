#include "readback/models/karlo/timesteps.h"

#include <ATen/ATen.h>

#include <cmath>

namespace readback::models {

at::Tensor timestep_waves(const at::Tensor& timesteps, int64_t width) {
  const int64_t half = width / 2;
  const at::Tensor exponent =
      at::arange(half, timesteps.options().dtype(at::kFloat)) * (-std::log(10000.0) / static_cast<double>(half));
  const at::Tensor angle = timesteps.to(at::kFloat).unsqueeze(1) * exponent.exp().unsqueeze(0);  // [B, width / 2]
  return at::cat({angle.cos(), angle.sin()}, 1);
}

at::Tensor additive_mask(const at::Tensor& seen, c10::ScalarType dtype) { return (1.0 - seen.to(dtype)) * -10000.0; }

}  // namespace readback::models
