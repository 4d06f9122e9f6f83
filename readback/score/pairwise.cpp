#include "readback/score/pairwise.h"

#include <algorithm>

#include "readback/score/statistics/bootstrap.h"

namespace readback::score {

std::vector<PairScores> score_pairwise(std::span<const std::unique_ptr<Metric>> metrics, int64_t samples,
                                       int64_t batch_size,
                                       const std::function<PairBatch(int64_t first, int64_t last)>& make_batch,
                                       const Context& context) {
  std::vector<PairScores> scores(metrics.size());
  context.progress().begin("scoring", samples);
  for (int64_t first = 0; first < samples; first += batch_size) {
    context.check();
    const int64_t last = std::min(samples, first + batch_size);
    const PairBatch batch = make_batch(first, last);
    std::vector<Comparison> comparisons;
    for (const auto& of_sample : batch.own) comparisons.insert(comparisons.end(), of_sample.begin(), of_sample.end());
    comparisons.insert(comparisons.end(), batch.random.begin(), batch.random.end());
    for (size_t m = 0; m < metrics.size(); ++m) {
      const std::vector<double> values = metrics[m]->score(comparisons, context);
      auto next = values.begin();
      for (const auto& of_sample : batch.own) {
        const auto end = next + static_cast<std::ptrdiff_t>(of_sample.size());
        scores[m].own.push_back(mean(std::span(next, end)));
        next = end;
      }
      scores[m].random.insert(scores[m].random.end(), next, values.end());
    }
    context.progress().advance(last - first);
  }
  context.progress().end();
  return scores;
}

}  // namespace readback::score
