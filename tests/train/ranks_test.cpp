// Training by several processes: what they learn together, how they end together, how they go on.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>
#include <sstream>

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

const std::string kGoldens = tests::source_dir().string() + "/tests/goldens/";
constexpr int kInterrupted = 130, kRankError = 3;

UnifiedTaskOptions unified(int64_t batch_size) {
  UnifiedTaskOptions options;
  options.models.captioner = kGoldens + "caption/blip";
  options.models.generator = kGoldens + "generate/pipeline";
  options.models.minimum_coverage = 0;
  options.batches.batch_size = batch_size;
  options.batches.draws = 2;
  options.batches.degradation = 0.5;
  options.batches.unconditional = 0.2;
  options.batches.samples.dataset = "emoji-scenes";
  options.batches.samples.count = 6;
  options.evaluation.dataset = "emoji-scenes";
  options.evaluation.samples = 4;
  return options;
}

TrainOptions train_options(int64_t steps) {
  TrainOptions options;
  options.steps = steps;
  options.learning_rate = 1e-4;
  options.warmup = 2;
  options.log_every = 1;
  options.evaluate_every = 5;
  options.optimizer.ema_decay = 0.9;
  options.checkpoint_seconds = 0.02;
  return options;
}

void train_unified(const std::string& order, const fs::path& folder, int64_t batch_size, const Ranks& ranks,
                   const Context& context = {}) {
  at::set_num_threads(1);
  UnifiedTaskOptions options = unified(batch_size);
  options.order = parse_enum<Order>("order", order);
  train(*make_unified_task(options, {}, context, ranks), train_options(20), {}, folder, context, ranks);
}

// $READBACK_JOB: the order of steps and a folder.
TEST(DISABLED_RanksChild, TrainUnified) {
  std::istringstream job(std::getenv("READBACK_JOB"));
  std::string order, folder;
  job >> order >> folder;
  const Context context(stop_on_sigint());
  try {
    train_unified(order, folder, 2, Ranks(find_launch(), context), context);
  } catch (const Interrupted&) {
    ::_exit(kInterrupted);
  } catch (const RankError&) {
    ::_exit(kRankError);
  }
}

const std::string kTrainUnified = "DISABLED_RanksChild.TrainUnified";

std::string job_in(const fs::path& folder) { return "alternate " + folder.string(); }

TEST(RanksTraining, TwoProcessesEqualOneWithTwiceTheBatch) {
  for (const std::string order : {"alternate", "joint"}) {
    Folder two, one;
    expect_done(Job(2, kTrainUnified, order + " " + fs::path(two).string()), 2);
    train_unified(order, one, 4, {});
    const auto expected = checkpoint::load_safetensors(one / "training/state.safetensors");
    const auto start = make_unified_task(unified(1), {}, {})->parameters();
    int parameters = 0;
    double moved = 0;
    for (const auto& [key, tensor] : checkpoint::load_safetensors(two / "training/state.safetensors")) {
      if (!key.starts_with("master.")) continue;
      ++parameters;
      EXPECT_LE((tensor - expected.at(key)).abs().max().item<double>(), 1e-5) << order << " " << key;
      moved = std::max(moved, (tensor - start.at(key.substr(7))).abs().max().item<double>());
    }
    EXPECT_EQ(parameters, 8);
    EXPECT_GT(moved, 5e-4);  // fifty times what the two may differ by
  }
}

// Row r of step s pulls the parameter `even` or `odd` (by r) towards r + s; a batch is of two rows.
class Rows : public Task {
 public:
  explicit Rows(const Ranks& ranks) : ranks_(ranks) {}
  std::map<std::string, at::Tensor> parameters() const override { return {{"even", even_}, {"odd", odd_}}; }
  at::Tensor loss(int64_t step, Metrics& metrics) override {
    const int64_t rows = 2 / ranks_.size();
    at::Tensor total;
    for (int64_t row = ranks_.rank() * rows; row < (ranks_.rank() + 1) * rows; ++row) {
      const at::Tensor distance = (row % 2 == 0 ? even_ : odd_) - static_cast<double>(row + step);
      const at::Tensor loss = distance.square().sum() / 2 * (row == broken_row ? NAN : 1.0);
      total = total.defined() ? total + loss : loss;
      metrics.emplace_back(row % 2 == 0 ? "even" : "odd", loss.item<double>());
    }
    return total;
  }
  Metrics evaluate(const checkpoint::TensorMap&) override {
    if (!ranks_.is_root()) ADD_FAILURE() << "another rank than 0 evaluates";
    if (evaluations++ == 2 && fails) throw DataError("evaluation fails");
    ::usleep(200000);
    return {{"selection", -evaluations}};
  }
  void save(const fs::path& folder, const checkpoint::TensorMap&) const override {
    if (!ranks_.is_root()) ADD_FAILURE() << "another rank than 0 writes";
    write_file(folder / "saved.txt", "");
  }
  int evaluations = 0;
  bool fails = false;
  int64_t broken_row = -1;  // whose loss is no number

 private:
  Ranks ranks_;
  at::Tensor even_ = at::ones({2, 3}).t().set_requires_grad(true);
  at::Tensor odd_ = at::ones({1}, at::kBFloat16).set_requires_grad(true);
};

TEST(DISABLED_RanksChild, Gradients) {
  const Ranks ranks(find_launch());
  Rows shared(ranks), alone({});
  const Gathered sum = gather_gradients(shared, 3, {.accumulation = 2}, ranks);
  const Gathered expected = gather_gradients(alone, 3, {.accumulation = 2}, {});
  EXPECT_DOUBLE_EQ(sum.loss, expected.loss);
  EXPECT_EQ(sum.metrics, ranks.is_root() ? expected.metrics : Metrics());
  for (const auto& [name, parameter] : shared.parameters()) {
    ASSERT_TRUE(parameter.grad().defined()) << name << " on rank " << ranks.rank();
    EXPECT_TRUE(at::equal(parameter.grad(), alone.parameters().at(name).grad().to(at::kFloat))) << name;
  }
  shared.broken_row = 1;
  const Gathered broken = gather_gradients(shared, 3, {.accumulation = 2}, ranks);
  EXPECT_TRUE(std::isnan(broken.loss));
  for (const auto& [name, value] : broken.metrics) EXPECT_EQ(std::isnan(value), name == "odd");
}

TEST(RanksTraining, AGradientOfOneRankIsEverybodys) { expect_done(Job(2, "DISABLED_RanksChild.Gradients"), 2); }

TEST(DISABLED_RanksChild, Evaluation) {
  const Ranks ranks(find_launch());
  Progress silent;
  TrainOptions options = train_options(100);
  options.evaluate_every = 2;
  options.patience = 3;
  const fs::path folder = std::getenv("READBACK_JOB");
  Rows rows(ranks);
  rows.fails = true;
  const auto run = [&] { train(rows, options, {}, folder, silent, ranks); };
  if (ranks.is_root()) {
    EXPECT_THROW(run(), DataError);
  } else {
    EXPECT_THROW(run(), RankError);
  }
  rows.fails = false;
  run();  // ends for lack of patience, on both alike
  EXPECT_EQ(rows.evaluations, ranks.is_root() ? 5 : 0);
  ranks.together([] {});
}

TEST(RanksTraining, OnlyRankZeroEvaluatesAndWrites) {
  Folder folder;
  expect_done(Job(2, "DISABLED_RanksChild.Evaluation", fs::path(folder).string()), 2);
  EXPECT_TRUE(fs::exists(folder / "saved.txt"));
  EXPECT_TRUE(fs::exists(folder / "best/saved.txt"));
}

std::string final_state(const fs::path& folder) {
  return read_file(folder / "captioner/model.safetensors") +
         read_file(folder / "generator/unet/diffusion_pytorch_model.safetensors") +
         read_file(folder / "training/state.safetensors") + read_file(folder / "training/losses.jsonl") +
         read_file(folder / "training/evaluations.jsonl") + read_file(folder / "best/captioner/model.safetensors");
}

int64_t logged_updates(const fs::path& folder) {
  std::ifstream log(folder / "training/losses.jsonl");
  int64_t lines = 0;
  for (std::string line; std::getline(log, line);) ++lines;
  return lines;
}

TEST(RanksTraining, KillsAndInterruptsLeaveTheWeightsOfAnUndisturbedTraining) {
  Folder undisturbed;
  expect_done(Job(2, kTrainUnified, job_in(undisturbed)), 2);
  const std::string expected = final_state(undisturbed);
  Random random(1, Purpose::kTest, "moments");
  for (const int number : {SIGKILL, SIGINT}) {
    for (size_t victim : {0, 1}) {
      Folder folder;
      Job job(2, kTrainUnified, job_in(folder));
      const int64_t updates = 1 + random.below(15);
      while (logged_updates(folder) < updates) ::usleep(500);
      job.signal(victim, number);
      EXPECT_EQ(job.wait(victim), number == SIGKILL ? 128 + SIGKILL : kInterrupted);
      EXPECT_EQ(job.wait(1 - victim), number == SIGKILL ? kRankError : kInterrupted);
      expect_done(Job(2, kTrainUnified, job_in(folder)), 2);
      EXPECT_EQ(final_state(folder), expected) << "signal " << number << " to rank " << victim;
    }
  }
}

TEST(RanksTraining, AnotherNumberOfProcessesIsAnotherTraining) {
  Folder folder;
  expect_done(Job(2, kTrainUnified, job_in(folder)), 2);
  EXPECT_THROW(train_unified("alternate", folder, 2, {}), StoreError);
}

}  // namespace
}  // namespace readback::train
