#include "readback/train/unified_task.h"

#include <ATen/ATen.h>

#include <optional>

#include "readback/base/error.h"
#include "readback/nn/differentiable.h"
#include "readback/train/pair_task.h"
#include "readback/train/rollouts.h"

namespace readback::train {

namespace {

// `options` with what follows from the choice of losses and of the objective.
UnifiedTaskOptions resolved(UnifiedTaskOptions options, const Machine& machine) {
  if (options.losses == Losses::kLm) {
    options.models.train_generator = Selection::kNone;
    options.models.minimum_coverage = options.objective.diffusion_weight = 0;
  } else if (options.losses == Losses::kDiffusion) {
    options.models.train_captioner = Selection::kNone;
    options.models.minimum_coverage = options.objective.lm_weight = options.objective.policy.weight = 0;
  }
  if (options.objective.objective == Objective::kPaper && !options.models.label_smoothing) {
    options.models.label_smoothing = 0.1;
  }
  options = resolved_models(std::move(options), machine);
  if (options.batches.samples.dataset.empty()) {
    throw UsageError(describe("dataset", "a data set with captions", "none"));
  }
  if (options.losses == Losses::kUnified) expect_soft_texts(options.models, machine, "losses unified");
  if (options.objective.policy.weight > 0) expect_soft_texts(options.models, machine, "policy_weight");
  if (options.objective.policy.weight > 0 && options.models.train_captioner == Selection::kNone) {
    throw UsageError(describe("policy_weight", "a captioner that is trained", "train_captioner none"));
  }
  return options;
}

class UnifiedTask : public PairTask {
 public:
  UnifiedTask(const UnifiedTaskOptions& wanted, const Machine& machine, const Context& context, const Ranks& ranks)
      : PairTask(resolved(wanted, machine), machine, context, ranks),
        samples_(options_.batches.samples, context),
        batches_(options_.batches, options_.objective, pair_, ranks),
        objective_(pair_.models(), options_.objective, start_.get()) {
    if (options_.objective.policy.weight > 0) rollouts_.emplace(options_.objective.policy, pair_, batches_);
    if (options_.losses == Losses::kUnified)
      context_.progress().note("vocabulary bridge: " + pair_.models().bridge.summary());
  }

  at::Tensor loss(int64_t step, Metrics& metrics) override {
    const nn::GradientCheckpointing checkpointing(options_.gradient_checkpointing);
    std::vector<BatchRow> rows = samples_.rows(step, options_.batches.batch_size, options_.batches.seed, ranks_);
    const bool unified = options_.losses == Losses::kUnified, joint = unified && options_.order == Order::kJoint;
    const bool text_cycle = joint || options_.losses == Losses::kDiffusion || (unified && step % 2 == 0);
    const bool image_cycle = joint || !text_cycle;
    at::Tensor total;
    if (text_cycle) {
      const TextCycleBatch batch = batches_.text_cycle(rows);
      pair_.release_encoders();  // what they made is in the batch
      add("text_cycle", objective_.text_cycle(batch), total, metrics);
    }
    if (image_cycle) {
      ImageCycleBatch batch = batches_.image_cycle(rows);
      if (rollouts_) batch.policy = rollouts_->draw(batch, rows, metrics);
      pair_.release_encoders();
      add("image_cycle", objective_.image_cycle(batch), total, metrics);
    }
    add_anchor(total, metrics);
    return total;
  }

 private:
  UnifiedSamples samples_;
  UnifiedBatches batches_;
  UnifiedObjective objective_;
  std::optional<Rollouts> rollouts_;  // with a policy gradient
};

}  // namespace

std::unique_ptr<Task> make_unified_task(const UnifiedTaskOptions& options, const Machine& machine,
                                        const Context& context, const Ranks& ranks) {
  return std::make_unique<UnifiedTask>(options, machine, context, ranks);
}

}  // namespace readback::train
