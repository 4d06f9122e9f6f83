// What all tasks have in common that tune a captioner and a generator: the models, their evaluation, how they are
// saved.
#pragma once
#include <memory>
#include <optional>

#include "readback/base/ranks.h"
#include "readback/train/caption_evaluation.h"
#include "readback/train/model_pair.h"
#include "readback/train/task.h"
#include "readback/train/unified_options.h"

namespace readback::train {

class PairTask : public Task {
 public:
  std::map<std::string, at::Tensor> parameters() const override { return pair_.parameters(); }
  Metrics evaluate(const checkpoint::TensorMap& weights) override;
  void save(const std::filesystem::path& folder, const checkpoint::TensorMap& weights) const override;

 protected:
  // `options` as resolved_models() gives them. `needs_start`: whether the losses compare with the starting models; an
  // anchor does anyway. Errors: UsageError, CheckpointError.
  PairTask(const UnifiedTaskOptions& options, const Machine& machine, const Context& context, const Ranks& ranks,
           bool needs_start = false);

  // Adds the losses that are there, under `name`, and their sum to `total`.
  static void add(const std::string& name, const UnifiedLoss& loss, at::Tensor& total, Metrics& metrics);
  // Adds the distance from the starting models' parameters, when there is an anchor on it.
  void add_anchor(at::Tensor& total, Metrics& metrics) const;

  UnifiedTaskOptions options_;
  Context context_;
  Ranks ranks_;
  ModelPair pair_;
  std::unique_ptr<StartingModels> start_;  // null when nothing needs them

 private:
  std::optional<CaptionEvaluation> evaluation_;
};

// `options` with what follows for every task. Errors: UsageError.
UnifiedTaskOptions resolved_models(UnifiedTaskOptions options, const Machine& machine);

}  // namespace readback::train
