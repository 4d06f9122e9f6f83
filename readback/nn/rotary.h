// Rotary position embeddings (https://arxiv.org/abs/2104.09864), as LLaMA's: the first half of a head's values turns
// with the second. T tokens, D values of a head.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include <cstdint>

namespace readback::nn {

// By how much each value of tokens first … first + T - 1 turns.
struct Rotation {
  at::Tensor cosine, sine;  // [T, D]
  Rotation(int64_t first, int64_t tokens, int64_t width, double theta, const at::TensorOptions& options);
  at::Tensor operator()(const at::Tensor& x) const;  // [S, heads, T, D]
};

}  // namespace readback::nn
