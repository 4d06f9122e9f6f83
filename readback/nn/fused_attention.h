// Attention that never holds its scores, on a CPU: FlashAttention's order of work (https://arxiv.org/abs/2205.14135)
// with fp32 arithmetic for float32 and bfloat16. Its gradients hold those of a few heads at a time.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

namespace readback::nn {

// While gradients are recorded, up to so many keys go through one product of all heads (layers.cpp) fastest.
inline constexpr int64_t kFewKeys = 256;

// True where fused_attention() may and should be used: float32, or bfloat16 where AMX does not do better, on the CPU,
// and enough queries that it pays to rearrange the keys. While gradients are recorded, bfloat16 with many keys only.
bool fuses_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);

// softmax(q kᵀ · scale) v for q [B, heads, T, D], k and v [B, heads, S, D], in any memory order; gives [B, T, heads ·
// D].
at::Tensor fused_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale);

// The gradients of q, k and v for the result's `gradient`, in bfloat16; undefined where not wanted.
std::array<at::Tensor, 3> fused_attention_backward(const at::Tensor& gradient, const at::Tensor& q, const at::Tensor& k,
                                                   const at::Tensor& v, double scale, std::array<bool, 3> wanted);

}  // namespace readback::nn
