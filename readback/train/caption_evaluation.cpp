#include "readback/train/caption_evaluation.h"

#include <cmath>

#include "readback/base/error.h"
#include "readback/score/registry.h"

namespace readback::train {

CaptionEvaluation::CaptionEvaluation(const EvaluationOptions& options, Progress& progress) : options_(options) {
  const UnifiedSamples chosen(options.samples, progress);
  score::MetricContext context;
  for (const int64_t index : chosen.indices()) {
    samples_.push_back(chosen.sample(index));
    requests_.push_back({chosen.load(index), samples_.back().id});
    context.corpus.push_back(samples_.back().references);
  }
  for (const std::string& name : options.metrics) {
    const score::MetricInfo& info = score::find_metric(name);
    if (info.inputs != score::Inputs::kReferences && info.inputs != score::Inputs::kTextTruth) {
      throw UsageError(describe("--select-by", "metrics of captions against references or truth", name));
    }
    metrics_.push_back(score::make_metric(name, context));
  }
}

Figures CaptionEvaluation::run(caption::Captioner& captioner) {
  std::vector<score::Comparison> comparisons;
  const auto captions = captioner.caption(requests_, options_.decoding);
  for (size_t i = 0; i < samples_.size(); ++i) {
    comparisons.push_back(
        {.candidate_text = captions[i].front().text, .references = samples_[i].references, .truth = samples_[i].truth});
  }
  Figures figures = {{"selection", 0.0}};
  for (const auto& metric : metrics_) {
    double sum = 0;
    int64_t count = 0;
    for (const double value : metric->score(comparisons)) {
      if (std::isnan(value)) continue;
      sum += value;
      ++count;
    }
    const bool lower = metric->info().direction == score::Direction::kLowerIsBetter;
    const double mean = count > 0 ? sum / static_cast<double>(count) : 0.0;
    figures.front().second += lower ? -mean : mean;
    figures.emplace_back(metric->info().name, mean);
  }
  return figures;
}

}  // namespace readback::train
