// Attention that never holds its scores, for inference on a CPU: FlashAttention's order of work
// (https://arxiv.org/abs/2205.14135) with fp32 arithmetic for float32 and bfloat16.
#pragma once
#include <ATen/core/Tensor.h>

namespace readback::nn {

// True where fused_attention() may and should be used: float32, or bfloat16 where AMX does not do better, on the CPU
// without gradients, and enough queries that it pays to rearrange the keys.
bool fuses_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);

// softmax(q kᵀ · scale) v for q [B, heads, T, D], k and v [B, heads, S, D], in any memory order; gives [B, T, heads ·
// D].
at::Tensor fused_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale);

}  // namespace readback::nn
