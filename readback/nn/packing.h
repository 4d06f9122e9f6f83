// Weight matrices in the layout that oneDNN multiplies fastest by: for inference on a CPU.
#pragma once
#include <ATen/core/Tensor.h>

namespace readback::nn {

// An opaque tensor for packed_linear(); undefined when this libtorch, device or type has no such layout.
// weight: [out, in], float32 or bfloat16. The layout suits any number of rows.
at::Tensor pack_weight(const at::Tensor& weight);

// x weightᵀ + bias: [..., in] → [..., out]; bias may be undefined. Not differentiable.
at::Tensor packed_linear(const at::Tensor& x, const at::Tensor& packed, const at::Tensor& bias);

// x weightᵀ + bias by oneDNN with the weight as it lies in memory: on CPUs with AVX-512 two to three times as fast in
// float32 as libtorch's own choice where that is MKL on another maker's processor. Not differentiable.
bool multiplies_by_onednn(const at::Tensor& x);  // float32 on the CPU, where this libtorch has oneDNN
at::Tensor onednn_linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

// The same for the 3 × 3 kernels of convolutions with stride 1 and padding 1, which on small maps cost less than
// bringing their weights into oneDNN's order: undefined for others. weight: [out, in, 3, 3].
at::Tensor pack_convolution(const at::Tensor& weight, int64_t stride, int64_t padding);
// [B, in, H, W] → [B, out, H, W]; bias may be undefined. Not differentiable.
at::Tensor packed_convolution(const at::Tensor& x, const at::Tensor& packed, const at::Tensor& bias);

}  // namespace readback::nn
