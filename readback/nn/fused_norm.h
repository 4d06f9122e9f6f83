// Group normalisation with the activation behind it in one pass over memory, and its gradients in two, on a CPU.
#pragma once
#include <ATen/core/Tensor.h>

namespace readback::nn {

// True for float32 and bfloat16 maps [B, C, H, W] in channels-last memory on the CPU, C a multiple of 16.
bool fuses_group_norm(const at::Tensor& x);

struct NormMoments {
  at::Tensor mean, inverse;  // fp64 [B, groups]; inverse: of the standard deviation
};

// Group normalisation of x, then silu if wanted. weight, bias: [C] of x's type. Sums are fp32 over runs of positions
// and fp64 over all of them, in an order that does not depend on the number of threads. Not differentiable by itself.
at::Tensor fused_group_norm(const at::Tensor& x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias,
                            double epsilon, bool silu, NormMoments* moments = nullptr);

struct NormGradients {
  at::Tensor x, weight, bias;
};

// Of what fused_group_norm() gave for x with these moments, from `gradient` of its output, of x's type and memory
// order.
NormGradients fused_group_norm_backward(const at::Tensor& gradient, const at::Tensor& x, const at::Tensor& weight,
                                        const at::Tensor& bias, const NormMoments& moments, bool silu);

}  // namespace readback::nn
