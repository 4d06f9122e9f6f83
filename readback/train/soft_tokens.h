// Soft tokens: the captioner's logits as embeddings that the generator's text encoder reads, differentiably.
// B batch, T tokens, V the captioner's vocabulary, W the generator's, D width of the text encoder.
#pragma once
#include <ATen/core/Tensor.h>

#include "readback/train/unified_options.h"
#include "readback/train/vocabulary_bridge.h"

namespace readback::train {

// Gathering by a map and multiplying by the token embeddings are linear, so both are folded into one matrix over the
// captioner's vocabulary, and nothing as wide as the generator's vocabulary is ever made. With m the map and e the
// embeddings: Σ_j softmax(x)_m(j) e_j = Σ_i softmax(x)_i Σ_{m(j)=i} e_j; and where the softmax comes last, equal logits
// are counted together: the weights are softmax(x + log n) over n_i = |{j : m(j) = i}|, the rows means instead of sums.
class SoftTokens {
 public:
  // token_embedding: [W, D], frozen.
  SoftTokens(const VocabularyBridge& bridge, const at::Tensor& token_embedding, SoftTokenVariant variant);
  // logits [B, T, V] → [B, T, D] of the embedding's type.
  at::Tensor operator()(const at::Tensor& logits, double temperature) const;

 private:
  at::Tensor table_;      // [V, D]
  at::Tensor log_count_;  // [V], kLogits only; -∞ for tokens that nothing maps to
};

}  // namespace readback::train
