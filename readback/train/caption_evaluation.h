// What a captioner in training is worth.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "readback/base/context.h"
#include "readback/caption/captioner.h"
#include "readback/score/metric.h"
#include "readback/train/task.h"
#include "readback/train/unified_samples.h"

namespace readback::train {

// Captions for samples that are not trained on, and what they are worth: the sum of metrics, each its mean over the
// samples. The paper's choice is CIDEr + BLEU-4.
struct EvaluationOptions {
  SampleOptions samples{.split = "validation", .count = 200};
  std::vector<std::string> metrics = {"cider", "bleu-4"};  // of the registry, by references or truth
  caption::DecodingOptions decoding;
};

class CaptionEvaluation {
 public:
  // `progress` must outlive this. Errors: UsageError (a metric that is not of captions), DataError.
  CaptionEvaluation(const EvaluationOptions& options, const Context& context);

  // "selection", the sum of the metrics, and each by its name. A picture that cannot be read is noted once and left
  // out. Errors: DataError when none can be read.
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
