#include "readback/train/soft_tokens.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

namespace readback::train {

SoftTokens::SoftTokens(const VocabularyBridge& bridge, const at::Tensor& token_embedding, SoftTokenVariant variant) {
  c10::NoGradGuard no_grad;
  const at::Tensor embedding = token_embedding.to(at::kFloat), map = bridge.map.to(embedding.device());  // [W, D], [W]
  const at::Tensor sums =
      at::zeros({bridge.captioner_size, embedding.size(1)}, embedding.options()).index_add(0, map, embedding);
  if (variant == SoftTokenVariant::kProbabilities) {
    table_ = sums.to(token_embedding.scalar_type());
    return;
  }
  const at::Tensor counts =
      at::zeros({bridge.captioner_size}, embedding.options()).index_add(0, map, at::ones_like(embedding.select(1, 0)));
  table_ = (sums / counts.clamp_min(1).unsqueeze(1)).to(token_embedding.scalar_type());
  log_count_ = counts.log();
}

at::Tensor SoftTokens::operator()(const at::Tensor& logits, double temperature) const {
  at::Tensor scaled = logits.to(at::kFloat) / temperature;
  if (log_count_.defined()) scaled = scaled + log_count_;
  return at::matmul(at::softmax(scaled, -1).to(table_.scalar_type()), table_);
}

}  // namespace readback::train
