#include "readback/train/caption_evaluation.h"

#include <algorithm>
#include <cmath>

#include "readback/base/error.h"
#include "readback/score/registry.h"

namespace readback::train {

namespace {

constexpr size_t kBatch = 64;  // pictures in memory at a time

double mean_of_numbers(const std::vector<double>& values) {
  double sum = 0;
  int64_t count = 0;
  for (const double value : values) {
    if (std::isnan(value)) continue;
    sum += value;
    ++count;
  }
  return count > 0 ? sum / static_cast<double>(count) : 0.0;
}

}  // namespace

CaptionEvaluation::CaptionEvaluation(const EvaluationOptions& options, const Context& context)
    : options_(options),
      context_(context),
      samples_({.dataset = options.dataset,
                .split = options.split,
                .count = options.samples,
                .image_size = options.image_size},
               context),
      indices_(samples_.indices()) {
  score::MetricContext resources;
  for (const int64_t index : indices_) resources.corpus.push_back(samples_.sample(index).references);
  for (const std::string& name : options.metrics) {
    const score::MetricInfo& info = score::find_metric(name);
    if (info.inputs != score::Inputs::kReferences && info.inputs != score::Inputs::kTextTruth) {
      throw UsageError(describe("evaluate_metrics", "metrics of captions against references or truth", name));
    }
    metrics_.push_back(score::make_metric(name, resources));
  }
}

Metrics CaptionEvaluation::run(caption::Captioner& captioner) {
  const std::vector<score::Comparison> comparisons = compare(captioner);
  Metrics metrics = {{"selection", 0.0}};
  for (const auto& metric : metrics_) {
    const double mean = mean_of_numbers(metric->score(comparisons, context_));
    const bool lower = metric->info().direction == score::Direction::kLowerIsBetter;
    metrics.front().second += lower ? -mean : mean;
    metrics.emplace_back(metric->info().name, mean);
  }
  return metrics;
}

std::vector<score::Comparison> CaptionEvaluation::compare(caption::Captioner& captioner) {
  std::vector<score::Comparison> comparisons;
  std::vector<int64_t> read, batch;  // samples whose pictures can be read, and the latest of them
  std::vector<caption::Request> requests;
  std::string reason;
  const auto leave_out = [&](const std::string& why) { context_.progress().note(reason = why); };
  const auto caption_batch = [&] {
    const auto captions = captioner.caption(requests, options_.decoding, context_);
    for (size_t i = 0; i < batch.size(); ++i) {
      const data::Sample sample = samples_.sample(batch[i]);
      if (captions[i].ok()) {
        comparisons.push_back({.candidate_text = captions[i].value().front().text,
                               .references = sample.references,
                               .truth = sample.truth});
      } else {
        leave_out(sample.id + ": " + captions[i].failure());
      }
    }
    read.insert(read.end(), batch.begin(), batch.end());
    requests.clear();
    batch.clear();
  };
  for (const int64_t index : indices_) {
    try {
      requests.push_back({samples_.load(index), samples_.sample(index).id, 0, {}, {}});
      batch.push_back(index);
    } catch (const DataError& unreadable) {
      leave_out(unreadable.what());
    }
    if (batch.size() == kBatch) caption_batch();
  }
  if (!batch.empty()) caption_batch();
  if (comparisons.empty()) throw DataError(reason);
  indices_ = std::move(read);
  return comparisons;
}

}  // namespace readback::train
