// What a captioner in training is worth.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "readback/base/progress.h"
#include "readback/caption/captioner.h"
#include "readback/data/dataset.h"
#include "readback/score/metric.h"
#include "readback/train/unified_task.h"

namespace readback::train {

class CaptionEvaluation {
 public:
  // Loads the samples' pictures. Errors: UsageError (a metric that is not of captions), DataError.
  CaptionEvaluation(const EvaluationOptions& options, Progress& progress);

  // "selection", the sum of the metrics, and each by its name.
  Figures run(caption::Captioner& captioner);

 private:
  EvaluationOptions options_;
  std::vector<caption::Request> requests_;
  std::vector<data::Sample> samples_;
  std::vector<std::unique_ptr<score::Metric>> metrics_;
};

}  // namespace readback::train
