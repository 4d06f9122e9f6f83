// What generate() does to logits before a token is chosen. S sequences, V vocabulary.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "readback/base/random.h"
#include "readback/caption/captioner.h"

namespace readback::caption {

// Repetition penalty (https://arxiv.org/abs/1909.05858; the prompt's tokens count), then the end tokens ruled out in
// sequences below min_length. scores: float32 [S, V], logits or log-probabilities, unchanged; sequences: S, none empty,
// each of its own length.
at::Tensor penalize(const at::Tensor& scores, const std::vector<std::vector<int64_t>>& sequences,
                    const std::vector<int64_t>& end_tokens, const DecodingOptions& options);

// What may follow each sequence, on the CPU: probabilities, which need not sum to one.
struct Choices {
  at::Tensor weights;           // float32 [S, N], zero where filtered
  at::Tensor tokens;            // whose they are, int64 [S, N], each once; undefined: all V, in the order of their ids
  int64_t vocabulary_size = 0;  // V
};

// The distribution that is sampled from: temperature, top-k, then top-p (https://arxiv.org/abs/1904.09751).
// scores: penalised logits, float32 [S, V]. It is filtered on the scores' device, and what stays of it fetched from
// there at once: the `fetched` heaviest of each sequence, which is set to more for the next call where more of them
// stayed and had to be fetched too. Without filter, and on the CPU, all are there.
Choices filter(const at::Tensor& scores, const DecodingOptions& options, int64_t& fetched);

// For filter(): nucleus filtering of probabilities, float32 [S, V], by tensor operations on their device.
Choices heaviest(const at::Tensor& weights, double top_p, int64_t& fetched);

// A token of sequence `s` of `choices`, drawn with the numbers of step `step` of `stream`. Every token of the
// vocabulary has a number of its own, so that a choice changes only where two tokens are about equally good. Errors:
// DataError when no weight is positive.
int64_t draw(const Choices& choices, int64_t s, Random stream, int64_t step);

}  // namespace readback::caption
