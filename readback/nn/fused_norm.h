// Group normalisation with the activation behind it in one pass over memory, for inference on a CPU.
#pragma once
#include <ATen/core/Tensor.h>

namespace readback::nn {

// True for float32 and bfloat16 maps [B, C, H, W] in channels-last memory on the CPU without gradients, C a multiple
// of 16.
bool fuses_group_norm(const at::Tensor& x);

// Group normalisation of x, then silu if wanted. weight, bias: [C] of x's type. Sums are fp32 over runs of positions
// and fp64 over all of them, in an order that does not depend on the number of threads.
at::Tensor fused_group_norm(const at::Tensor& x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias,
                            double epsilon, bool silu);

}  // namespace readback::nn
