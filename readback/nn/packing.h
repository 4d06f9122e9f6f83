// Weight matrices in the layout that oneDNN multiplies fastest by: for inference on a CPU.
#pragma once
#include <ATen/core/Tensor.h>

namespace readback::nn {

// An opaque tensor for packed_linear(); undefined when this libtorch, device or type has no such layout.
// weight: [out, in], float32 or bfloat16. The layout suits any number of rows.
at::Tensor pack_weight(const at::Tensor& weight);

// x weightᵀ + bias: [..., in] → [..., out]; bias may be undefined. Not differentiable.
at::Tensor packed_linear(const at::Tensor& x, const at::Tensor& packed, const at::Tensor& bias);

}  // namespace readback::nn
