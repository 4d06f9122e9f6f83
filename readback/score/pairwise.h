// Metrics of pairs over many samples, and over random pairs of them for the floor.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "readback/base/context.h"
#include "readback/score/metric.h"

namespace readback::score {

// Some consecutive samples.
struct PairBatch {
  std::vector<std::vector<Comparison>> own;  // of each sample; its value is the mean over them
  std::vector<Comparison> random;            // of each sample with another one's original; empty: no floor wanted
  std::vector<std::shared_ptr<const image::Image>> images;  // what the comparisons point to
};

struct PairScores {
  std::vector<double> own, random;  // a value a sample; NaN where undefined
};

// The scores of each metric. `make_batch` is called for samples first … last - 1, at most `batch_size` of them at a
// time; batches are cut at fixed places. Errors: Interrupted; what metrics and `make_batch` throw.
std::vector<PairScores> score_pairwise(std::span<const std::unique_ptr<Metric>> metrics, int64_t samples,
                                       int64_t batch_size,
                                       const std::function<PairBatch(int64_t first, int64_t last)>& make_batch,
                                       const Context& context);

}  // namespace readback::score
