#include "readback/generate/denoiser.h"

#include <ATen/ATen.h>

namespace readback::generate {

UnetDenoiser UnetDenoiser::select(const std::vector<int64_t>& rows) const {
  models::TextContext selected;
  for (const models::KeyValue& pair : context_) {
    const at::Tensor index = at::tensor(rows, at::TensorOptions(at::kLong).device(pair.key.device()));
    selected.push_back({pair.key.index_select(0, index), pair.value.index_select(0, index)});
  }
  return {unet_, std::move(selected)};
}

at::Tensor UnetDenoiser::predict(const at::Tensor& sample, const at::Tensor& timesteps) const {
  return unet_.forward(sample.to(dtype()), timesteps.to(sample.device()), context_).to(at::kFloat);
}

c10::ScalarType UnetDenoiser::dtype() const { return unet_.conv_norm_out.weight.scalar_type(); }

}  // namespace readback::generate
