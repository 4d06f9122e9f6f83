#include "readback/nn/rotary.h"

#include <ATen/ATen.h>

namespace readback::nn {

Rotation::Rotation(int64_t first, int64_t tokens, int64_t width, double theta, const at::TensorOptions& options) {
  const at::TensorOptions wide = options.dtype(at::kFloat);
  const at::Tensor frequencies =
      at::pow(theta, at::arange(0, width, 2, wide) / static_cast<double>(width)).reciprocal();
  const at::Tensor half = at::arange(first, first + tokens, wide).unsqueeze(1) * frequencies;  // [T, D / 2]
  const at::Tensor angles = at::cat({half, half}, 1);
  cosine = angles.cos().to(options.dtype());
  sine = angles.sin().to(options.dtype());
}

at::Tensor Rotation::operator()(const at::Tensor& x) const {
  const int64_t half = x.size(3) / 2;
  const at::Tensor turned = at::cat({-x.narrow(3, half, half), x.narrow(3, 0, half)}, 3);
  return x * cosine + turned * sine;
}

}  // namespace readback::nn
