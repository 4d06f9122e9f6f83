// What generate() does to logits before a token is chosen. S sequences, V vocabulary.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "readback/base/random.h"
#include "readback/caption/captioner.h"

namespace readback::caption {

// Repetition penalty (https://arxiv.org/abs/1909.05858; the prompt's tokens count), then the end tokens ruled out in
// sequences below min_length. scores: float32 [S, V], logits or log-probabilities, unchanged; sequences: S, none empty,
// each of its own length.
at::Tensor penalize(const at::Tensor& scores, const std::vector<std::vector<int64_t>>& sequences,
                    const std::vector<int64_t>& end_tokens, const DecodingOptions& options);

// The distribution that is sampled from: temperature, top-k, then top-p (https://arxiv.org/abs/1904.09751).
// scores: penalised logits, float32 [S, V]; gives probabilities on the CPU, float32 [S, V], zero where filtered, which
// need not sum to one.
at::Tensor filter(const at::Tensor& scores, const DecodingOptions& options);

// A token drawn from `weights` (V of them, not normalised) with the numbers of step `step` of `stream`. Every token has
// a number of its own, so that a choice changes only where two tokens are about equally good.
// Errors: DataError when no weight is positive.
int64_t draw(std::span<const float> weights, Random stream, int64_t step);

}  // namespace readback::caption
