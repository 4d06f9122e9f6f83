#include "readback/train/pair_task.h"

#include <ATen/ATen.h>

#include "readback/base/error.h"

namespace readback::train {

namespace {

bool anchored(const UnifiedOptions& options) { return options.anchor.kl > 0 || options.anchor.l2 > 0; }

}  // namespace

UnifiedTaskOptions resolved_models(UnifiedTaskOptions options, const Machine& machine) {
  check_options(options);
  const auto expect_given = [](const char* name, const std::string& value, const char* what) {
    if (value.empty()) throw UsageError(describe(name, what, "none"));
  };
  expect_given("captioner", options.models.captioner, "a captioner's repository");
  expect_given("generator", options.models.generator, "a Stable Diffusion repository");
  if (machine.dtype == at::kHalf) {
    throw UsageError(describe("dtype", "float32 or bfloat16", "float16, in which small gradients are 0"));
  }
  if (options.models.train_captioner == Selection::kNone && options.models.train_generator == Selection::kNone) {
    throw UsageError(describe("fine-tuning", "something to train", "\"none\" for both models"));
  }
  options.models.lora.seed = options.batches.seed;
  options.evaluation.image_size = options.batches.samples.image_size;
  return options;
}

PairTask::PairTask(const UnifiedTaskOptions& options, const Machine& machine, const Context& context,
                   const Ranks& ranks, bool needs_start)
    : options_(options),
      context_(context),
      ranks_(ranks),
      pair_(options_.models, machine),
      start_(needs_start || anchored(options_.objective) ? pair_.starting_models() : nullptr) {}

Metrics PairTask::evaluate(const checkpoint::TensorMap& weights) {
  if (!evaluation_) evaluation_.emplace(options_.evaluation, context_);
  return evaluation_->run(*pair_.captioner_with(weights));
}

void PairTask::save(const std::filesystem::path& folder, const checkpoint::TensorMap& weights) const {
  pair_.release_encoders();  // saving reads all files once more
  pair_.save(folder, weights);
}

void PairTask::add(const std::string& name, const UnifiedLoss& loss, at::Tensor& total, Metrics& metrics) {
  const std::pair<const char*, const at::Tensor*> parts[] = {
      {"_diffusion", &loss.diffusion}, {"_lm", &loss.lm}, {"_anchor", &loss.anchor}, {"_policy", &loss.policy}};
  for (const auto& [part, value] : parts) {
    if (value->defined()) metrics.emplace_back(name + part, value->item<double>());
  }
  total = total.defined() ? total + loss.total : loss.total;
}

void PairTask::add_anchor(at::Tensor& total, Metrics& metrics) const {
  const double weight = options_.objective.anchor.l2;
  if (weight <= 0) return;
  const at::Tensor distance = start_->half_squared_distance() / static_cast<double>(ranks_.size());
  metrics.emplace_back("anchor_l2", distance.item<double>());
  total = total + weight * distance;
}

}  // namespace readback::train
