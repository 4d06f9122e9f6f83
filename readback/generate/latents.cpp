#include "readback/generate/latents.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace readback::generate {

at::Tensor to_tensor(const Latents& latents) {
  at::Tensor tensor = at::empty(latents.shape, at::kFloat);
  std::ranges::copy(latents.values, tensor.data_ptr<float>());
  return tensor;
}

Latents to_latents(const at::Tensor& tensor) {
  const at::Tensor values = tensor.to(at::kCPU, at::kFloat).contiguous();
  return {values.sizes().vec(), {values.data_ptr<float>(), values.data_ptr<float>() + values.numel()}};
}

}  // namespace readback::generate
