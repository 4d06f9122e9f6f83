#include "readback/generate/denoiser.h"

#include <ATen/ATen.h>

namespace readback::generate {

UnetDenoiser UnetDenoiser::select(const std::vector<int64_t>& rows) const {
  const at::Tensor index = at::tensor(rows, at::TensorOptions(at::kLong).device(unet_.conv_norm_out.weight.device()));
  const auto of = [&](const at::Tensor& all) { return all.defined() ? all.index_select(0, index) : all; };
  models::UnetContext selected{.text = {}, .guidance = of(context_.guidance), .added = of(context_.added)};
  for (const models::KeyValue& pair : context_.text) selected.text.push_back({of(pair.key), of(pair.value)});
  return {unet_, std::move(selected)};
}

at::Tensor UnetDenoiser::predict(const at::Tensor& sample, const at::Tensor& timesteps) const {
  return unet_.forward(sample.to(dtype()), timesteps.to(sample.device()), context_).to(at::kFloat);
}

c10::ScalarType UnetDenoiser::dtype() const { return unet_.conv_norm_out.weight.scalar_type(); }

}  // namespace readback::generate
