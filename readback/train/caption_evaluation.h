// What a captioner in training is worth.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "readback/base/context.h"
#include "readback/caption/captioner.h"
#include "readback/score/metric.h"
#include "readback/train/task.h"
#include "readback/train/unified_options.h"
#include "readback/train/unified_samples.h"

namespace readback::train {

class CaptionEvaluation {
 public:
  // `progress` must outlive this. Errors: UsageError (a metric that is not of captions), DataError.
  CaptionEvaluation(const EvaluationOptions& options, const Context& context);

  // "selection", the sum of the metrics, and each by its name. A picture that cannot be read is noted once and left
  // out; one without a caption is left out this time. Errors: DataError when none is left.
  Metrics run(caption::Captioner& captioner);

 private:
  std::vector<score::Comparison> compare(caption::Captioner& captioner);

  EvaluationOptions options_;
  Context context_;
  UnifiedSamples samples_;
  std::vector<int64_t> indices_;  // of the samples that can be read, as far as is known
  std::vector<std::unique_ptr<score::Metric>> metrics_;
};

}  // namespace readback::train
