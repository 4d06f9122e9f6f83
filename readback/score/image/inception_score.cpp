#include "readback/score/image/inception_score.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <vector>

#include "readback/base/error.h"
#include "readback/score/image/numpy_random.h"

namespace readback::score {

InceptionScore inception_score(const at::Tensor& logits, const InceptionScoreOptions& options) {
  const int64_t n = logits.size(0), splits = options.splits;
  if (splits < 1 || n < splits) {
    throw DataError(describe("Inception Score", fmt::format("at least an image for each of {} splits", splits),
                             fmt::format("{} images", n), "Use fewer splits or more images"));
  }
  at::Tensor x = logits.to(at::kCPU, at::kDouble);
  if (!at::isfinite(x).all().item<bool>()) {
    throw DataError(describe("Inception Score", "finite logits", "NaN or infinity"));
  }
  if (options.shuffle) x = x.index_select(0, at::tensor(NumpyRandomState(options.seed).permutation(n), at::kLong));
  const at::Tensor log_p = at::log_softmax(x, 1), p = log_p.exp();
  std::vector<double> scores;
  for (int64_t i = 0; i < splits; ++i) {
    const int64_t begin = i * n / splits, count = (i + 1) * n / splits - begin;
    const at::Tensor part = p.narrow(0, begin, count);
    const at::Tensor divergence = part * (log_p.narrow(0, begin, count) - part.mean(0, /*keepdim=*/true).log());
    // Where no image of the split has any probability, its logarithm is infinite.
    scores.push_back(divergence.masked_fill(part == 0, 0).sum(1).mean().exp().item<double>());
  }
  const at::Tensor all = at::tensor(scores, at::kDouble);
  return {all.mean().item<double>(), all.std(/*unbiased=*/false).item<double>()};
}

}  // namespace readback::score
