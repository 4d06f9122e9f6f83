// Anchors, drafts and the policy gradient in whole trainings of tiny models.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "../device.h"
#include "../ranks_job.h"
#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/train/gradients.h"
#include "readback/train/trainer.h"
#include "readback/train/unified_task.h"
#include "tests/source_dir.h"
#include "training_folder.h"

namespace readback::train {
namespace {

const std::string kTiny = tests::source_dir().string() + "/tests/goldens/";

UnifiedTaskOptions plain_options() {
  UnifiedTaskOptions options;
  options.models.captioner = kTiny + "caption/blip";
  options.models.generator = kTiny + "generate/pipeline";
  options.models.minimum_coverage = 0;
  options.batches.batch_size = 2;
  options.batches.samples.dataset = "emoji-scenes";
  options.batches.samples.count = 6;
  options.batches.seed = 5;
  return options;
}

UnifiedTaskOptions beyond_options() {
  UnifiedTaskOptions options = plain_options();
  options.batches.augmentation = Augmentation::kBlip;
  options.objective.anchor = {.kl = 0.5, .l2 = 0.1};
  options.objective.reading = Reading::kDraft;
  options.objective.draft = {.steps = 3, .gradient_steps = 2, .guidance = 2.0};
  options.objective.policy.weight = 0.3;
  options.objective.policy.samples = 3;
  options.objective.policy.draws = 2;
  return options;
}

std::map<std::string, double> figures_of(Task& task, int64_t step) {
  at::set_num_threads(1);
  Metrics metrics;
  const at::Tensor loss = task.loss(step, metrics);
  metrics.emplace_back("total", loss.item<double>());
  return {metrics.begin(), metrics.end()};
}

std::map<std::string, double> figures_of(const UnifiedTaskOptions& options, int64_t step, const Machine& machine = {}) {
  return figures_of(*make_unified_task(options, machine, {}), step);
}

// The task's own data, caches and rollouts, where a tensor may be left on the wrong device.
TEST(BeyondTask, FiguresAreTheSameOnTheTestDevice) {
  if (test_device().is_cpu()) GTEST_SKIP() << "READBACK_TEST_DEVICE is the CPU";
  for (const UnifiedTaskOptions& options : {plain_options(), beyond_options()}) {
    for (const int64_t step : {0, 1}) {
      const auto expected = figures_of(options, step), actual = figures_of(options, step, {.device = test_device()});
      ASSERT_EQ(actual.size(), expected.size());
      for (const auto& [name, value] : expected) {
        EXPECT_NEAR(actual.at(name), value, 1e-3 * std::abs(value) + 1e-6) << name << ", step " << step;
      }
    }
  }
}

// A task whose parameters have left their start.
std::unique_ptr<Task> moved_task(int64_t batch_size, const Ranks& ranks, double anchor_kl = 0.5) {
  UnifiedTaskOptions options = beyond_options();
  options.objective.anchor.kl = anchor_kl;
  options.batches.batch_size = batch_size;
  std::unique_ptr<Task> task = make_unified_task(options, {}, {}, ranks);
  c10::NoGradGuard no_grad;
  for (const auto& [key, parameter] : task->parameters()) {
    parameter.add_(0.05);
    parameter.set_requires_grad(true);
  }
  return task;
}

TEST(BeyondTask, LogsEachPartAndAddsItsWeight) {
  constexpr double kAnchor = 1e6;  // so that even the tiny UNet's small divergence counts
  const std::unique_ptr<Task> moved = moved_task(2, {}, kAnchor);
  double parameters = 0;
  for (const auto& [key, parameter] : moved->parameters()) parameters += static_cast<double>(parameter.numel());
  const auto even = figures_of(*moved, 0), odd = figures_of(*moved, 1);
  EXPECT_NEAR(odd.at("anchor_l2"), 0.5 * 0.05 * 0.05 * parameters, 1e-4 * odd.at("anchor_l2"));
  EXPECT_GT(kAnchor * even.at("text_cycle_anchor"), 0.01);
  EXPECT_NEAR(even.at("total"),
              even.at("text_cycle_diffusion") + even.at("text_cycle_lm") + kAnchor * even.at("text_cycle_anchor") +
                  0.1 * even.at("anchor_l2"),
              1e-6 * even.at("total"));
  EXPECT_GT(odd.at("image_cycle_anchor"), 0);
  EXPECT_NEAR(odd.at("total"),
              odd.at("image_cycle_lm") + odd.at("image_cycle_diffusion") + kAnchor * odd.at("image_cycle_anchor") +
                  0.3 * odd.at("image_cycle_policy") + 0.1 * odd.at("anchor_l2"),
              1e-6 * odd.at("total"));
  const auto even_start = figures_of(beyond_options(), 0), odd_start = figures_of(beyond_options(), 1);
  EXPECT_EQ(odd_start.at("anchor_l2"), 0);
  EXPECT_NEAR(even_start.at("text_cycle_anchor"), 0, 1e-9);
  EXPECT_NEAR(odd_start.at("image_cycle_anchor"), 0, 1e-9);
  EXPECT_EQ(odd.at("policy_reward"), -odd.at("policy_error"));
  EXPECT_GT(odd.at("policy_deviation"), 0);
  EXPECT_FALSE(odd.contains("policy_clip"));
  EXPECT_EQ(figures_of(plain_options(), 1).size(), 3U);  // total, image_cycle_diffusion, image_cycle_lm
}

TEST(BeyondTask, DependsOnSeedAndStepOnly) {
  UnifiedTaskOptions options = beyond_options();
  for (const int64_t step : {0, 1}) EXPECT_EQ(figures_of(options, step), figures_of(options, step));
  const auto before = figures_of(options, 0);
  options.batches.seed = 6;
  EXPECT_NE(figures_of(options, 0), before);
}

// Sampled captions and their rewards are a row's own, whatever stands beside it in the batch.
TEST(BeyondTask, RolloutsOfARowDoNotDependOnItsBatch) {
  UnifiedTaskOptions options = beyond_options();
  options.losses = Losses::kLm;
  const double both = figures_of(options, 0).at("policy_error");
  options.batches.batch_size = 1;
  const double first = figures_of(options, 0).at("policy_error"), second = figures_of(options, 1).at("policy_error");
  EXPECT_NE(first, second);
  EXPECT_NEAR(both, (first + second) / 2, 1e-5 * both);
}

TEST(BeyondTask, ClipsCosineIsPartOfTheReward) {
  UnifiedTaskOptions options = beyond_options();
  options.objective.policy.clip_weight = 0.5;
  options.objective.policy.clip = "emoji-scenes/clip";
  const auto odd = figures_of(options, 1);
  EXPECT_GT(std::abs(odd.at("policy_clip")), 1e-3);
  EXPECT_LE(std::abs(odd.at("policy_clip")), 1);
  EXPECT_NEAR(odd.at("policy_reward"), 0.5 * odd.at("policy_clip") - odd.at("policy_error"), 1e-5);
}

// A vision model that is trained has a start of its own, which reads the same augmented picture.
TEST(BeyondTask, AnchorsAWholeCaptioner) {
  UnifiedTaskOptions options = beyond_options();
  options.models.train_captioner = Selection::kAll;
  EXPECT_NEAR(figures_of(options, 1).at("image_cycle_anchor"), 0, 1e-9);
}

TEST(DISABLED_BeyondChild, Gradients) {
  at::set_num_threads(1);
  const Ranks ranks(find_launch());
  const auto shared = moved_task(1, ranks), alone = moved_task(2, {});
  const Metrics sum = gather_gradients(*shared, 0, {.accumulation = 2}, ranks).metrics;
  const Metrics expected = gather_gradients(*alone, 0, {.accumulation = 2}, {}).metrics;
  for (size_t i = 0; i < sum.size(); ++i) {  // on rank 0
    EXPECT_EQ(sum[i].first, expected[i].first);
    EXPECT_NEAR(sum[i].second, expected[i].second, 1e-4 * std::abs(expected[i].second)) << sum[i].first;
  }
  EXPECT_EQ(sum.size(), ranks.is_root() ? 11U : 0U);
  const std::map<std::string, at::Tensor> ours = shared->parameters();
  for (const auto& [key, parameter] : alone->parameters()) {
    const at::Tensor& gradient = parameter.grad();
    EXPECT_LE((ours.at(key).grad() - gradient).abs().max().item<double>(),
              1e-4 * gradient.abs().max().item<double>() + 1e-7)
        << key;
  }
}

TEST(BeyondTask, TwoProcessesHaveTheGradientsOfOneWithTwiceTheBatch) {
  expect_done(Job(2, "DISABLED_BeyondChild.Gradients"), 2);
}

void train_beyond(const fs::path& folder, double anchor_l2 = 0.1) {
  at::set_num_threads(1);
  Progress silent;
  UnifiedTaskOptions task = beyond_options();
  task.objective.anchor.l2 = anchor_l2;
  task.objective.policy.clip_weight = 0.5;
  task.objective.policy.clip = "emoji-scenes/clip";
  TrainOptions options;
  options.steps = 6;
  options.accumulation = 2;
  options.warmup = 0;
  options.log_every = 1;
  options.optimizer.weight_decay = 0;
  options.checkpoint_seconds = 0.02;
  train(*make_unified_task(task, {}, silent), options, {}, folder, silent);
}

TEST(DISABLED_BeyondChild, Run) { train_beyond(std::getenv("READBACK_TRAIN_CHILD")); }

TEST(BeyondTask, KillsLeaveTheWeightsOfAnUndisturbedTraining) {
  expect_kills_change_nothing(
      2, "DISABLED_BeyondChild.Run", [](const fs::path& folder) { train_beyond(folder); },
      [](const fs::path& folder) {
        return read_file(folder / "captioner/model.safetensors") +
               read_file(folder / "generator/unet/diffusion_pytorch_model.safetensors") +
               read_file(folder / "training/losses.jsonl");
      });
}

double last_distance(const fs::path& folder) {
  const std::string log = read_file(folder / "training/losses.jsonl");
  const size_t last = log.rfind('\n', log.size() - 2);
  return nlohmann::json::parse(log.substr(last + 1)).at("anchor_l2");
}

TEST(BeyondTask, AStrongAnchorHoldsTheParameters) {
  Folder loose, tight;
  train_beyond(loose, 1e-6);
  train_beyond(tight, 1e4);
  EXPECT_GT(last_distance(loose), 0);
  EXPECT_LT(last_distance(tight), 0.5 * last_distance(loose));
}

void expect_refused(const std::function<void(UnifiedTaskOptions&)>& change, const std::string& part) {
  UnifiedTaskOptions options = beyond_options();
  change(options);
  Progress silent;
  try {
    make_unified_task(options, {}, silent);
    FAIL() << "accepted: " << part;
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(BeyondTask, SaysWhatIsWrong) {
  expect_refused([](auto& o) { o.objective.draft.gradient_steps = 9; }, "draft_gradient_steps");
  expect_refused([](auto& o) { o.objective.draft.steps = 0; }, "draft_steps");
  expect_refused([](auto& o) { o.objective.objective = Objective::kPaper; }, "reading draft");
  expect_refused([](auto& o) { o.objective.policy.samples = 1; }, "policy_samples");
  expect_refused([](auto& o) { o.objective.policy.draws = 0; }, "policy_draws");
  expect_refused([](auto& o) { o.objective.policy.clip_weight = 1; }, "policy_clip");
  expect_refused([](auto& o) { o.models.train_captioner = Selection::kNone; }, "policy_weight");
}

}  // namespace
}  // namespace readback::train
