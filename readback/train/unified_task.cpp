#include "readback/train/unified_task.h"

#include <ATen/ATen.h>

#include <optional>

#include "readback/base/error.h"
#include "readback/nn/differentiable.h"
#include "readback/train/caption_evaluation.h"
#include "readback/train/rollouts.h"

namespace readback::train {

namespace {

// `options` with what follows from the choice of losses and of the objective.
UnifiedTaskOptions resolved(UnifiedTaskOptions options, const Machine& machine) {
  check_options(options);
  const auto expect_given = [](const char* name, const std::string& value, const char* what) {
    if (value.empty()) throw UsageError(describe(name, what, "none"));
  };
  expect_given("captioner", options.models.captioner, "a BLIP repository");
  expect_given("generator", options.models.generator, "a Stable Diffusion repository");
  expect_given("dataset", options.batches.samples.dataset, "a data set with captions");
  if (options.losses == Losses::kLm) {
    options.models.train_generator = Selection::kNone;
    options.models.minimum_coverage = options.objective.diffusion_weight = 0;
  } else if (options.losses == Losses::kDiffusion) {
    options.models.train_captioner = Selection::kNone;
    options.models.minimum_coverage = options.objective.lm_weight = options.objective.policy.weight = 0;
  }
  const bool captioner_learns = options.models.train_captioner != Selection::kNone;
  if (machine.dtype == at::kHalf) {
    throw UsageError(describe("dtype", "float32 or bfloat16", "float16, in which small gradients are 0"));
  }
  if (!captioner_learns && options.models.train_generator == Selection::kNone) {
    throw UsageError(describe("fine-tuning", "something to train", "\"none\" for both models"));
  }
  if (options.objective.policy.weight > 0 && !captioner_learns) {
    throw UsageError(describe("policy_weight", "a captioner that is trained", "train_captioner none"));
  }
  if (options.objective.objective == Objective::kPaper && !options.models.label_smoothing) {
    options.models.label_smoothing = 0.1;
  }
  options.models.lora.seed = options.batches.seed;
  options.evaluation.image_size = options.batches.samples.image_size;
  return options;
}

bool anchored(const UnifiedOptions& options) { return options.anchor.kl > 0 || options.anchor.l2 > 0; }

class UnifiedTask : public Task {
 public:
  UnifiedTask(const UnifiedTaskOptions& wanted, const Machine& machine, const Context& context, const Ranks& ranks)
      : options_(resolved(wanted, machine)),
        context_(context),
        ranks_(ranks),
        pair_(options_.models, machine),
        start_(anchored(options_.objective) ? pair_.starting_models() : nullptr),
        batches_(options_.batches, options_.objective, pair_, context, ranks),
        objective_(pair_.models(), options_.objective, start_.get()) {
    if (options_.objective.policy.weight > 0) rollouts_.emplace(options_.objective.policy, pair_, batches_);
    if (options_.losses == Losses::kUnified)
      context.progress().note("vocabulary bridge: " + pair_.models().bridge.summary());
  }

  std::map<std::string, at::Tensor> parameters() const override { return pair_.parameters(); }

  at::Tensor loss(int64_t step, Metrics& metrics) override {
    const nn::GradientCheckpointing checkpointing(options_.gradient_checkpointing);
    std::vector<BatchRow> rows = batches_.rows(step);
    const bool unified = options_.losses == Losses::kUnified, joint = unified && options_.order == Order::kJoint;
    const bool text_cycle = joint || options_.losses == Losses::kDiffusion || (unified && step % 2 == 0);
    const bool image_cycle = joint || !text_cycle;
    at::Tensor total;
    const auto add = [&](const char* name, const UnifiedLoss& loss) {
      if (loss.diffusion.defined())
        metrics.emplace_back(name + std::string("_diffusion"), loss.diffusion.item<double>());
      if (loss.lm.defined()) metrics.emplace_back(name + std::string("_lm"), loss.lm.item<double>());
      if (loss.anchor.defined()) metrics.emplace_back(name + std::string("_anchor"), loss.anchor.item<double>());
      if (loss.policy.defined()) metrics.emplace_back(name + std::string("_policy"), loss.policy.item<double>());
      total = total.defined() ? total + loss.total : loss.total;
    };
    if (text_cycle) {
      const TextCycleBatch batch = batches_.text_cycle(rows);
      pair_.release_encoders();  // what they made is in the batch
      add("text_cycle", objective_.text_cycle(batch));
    }
    if (image_cycle) {
      ImageCycleBatch batch = batches_.image_cycle(rows);
      if (rollouts_) batch.policy = rollouts_->draw(batch, rows, metrics);
      pair_.release_encoders();
      add("image_cycle", objective_.image_cycle(batch));
    }
    if (const double weight = options_.objective.anchor.l2; weight > 0) {
      const at::Tensor distance = start_->half_squared_distance() / static_cast<double>(ranks_.size());
      metrics.emplace_back("anchor_l2", distance.item<double>());
      total = total + weight * distance;
    }
    return total;
  }

  Metrics evaluate(const checkpoint::TensorMap& weights) override {
    if (!evaluation_) evaluation_.emplace(options_.evaluation, context_);
    return evaluation_->run(*pair_.captioner_with(weights));
  }

  void save(const std::filesystem::path& folder, const checkpoint::TensorMap& weights) const override {
    pair_.release_encoders();  // saving reads all files once more
    pair_.save(folder, weights);
  }

 private:
  UnifiedTaskOptions options_;
  Context context_;
  Ranks ranks_;
  ModelPair pair_;
  std::unique_ptr<StartingModels> start_;  // with an anchor
  UnifiedBatches batches_;
  UnifiedObjective objective_;
  std::optional<Rollouts> rollouts_;  // with a policy gradient
  std::optional<CaptionEvaluation> evaluation_;
};

}  // namespace

std::unique_ptr<Task> make_unified_task(const UnifiedTaskOptions& options, const Machine& machine,
                                        const Context& context, const Ranks& ranks) {
  return std::make_unique<UnifiedTask>(options, machine, context, ranks);
}

}  // namespace readback::train
