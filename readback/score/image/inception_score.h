// The Inception Score (Salimans et al., NeurIPS 2016, https://arxiv.org/abs/1606.03498), as torch-fidelity has it.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace readback::score {

struct InceptionScoreOptions {
  int64_t splits = 10;
  bool shuffle = true;   // before the images are split; otherwise in the order given
  uint32_t seed = 2020;  // of numpy's RandomState
};

struct InceptionScore {
  double mean = 0, deviation = 0;  // over the splits; the deviation divided by the number of splits
};

// exp of the mean over a split's images of KL(p(y|x) ‖ p(y)); 1 (worst) to the number of classes.
// logits: [N, classes], Inception's "logits_unbiased". Errors: DataError with fewer images than splits and for NaN.
InceptionScore inception_score(const at::Tensor& logits, const InceptionScoreOptions& options = {});

}  // namespace readback::score
