// A training that is killed again and again ends with the weights of an undisturbed one.
#include "readback/train/trainer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/folder_lock.h"
#include "readback/checkpoint/safetensors.h"
#include "tests/source_dir.h"
#include "training_folder.h"

namespace readback::train {
namespace {

namespace fs = std::filesystem;

TaskOptions vae_options() {
  TaskOptions options;
  options.task = TaskKind::kVae;
  options.model = tests::source_dir().string() + "/recipes/emoji-scenes/vae";
  options.image_size = 16;
  options.batch_size = 2;
  options.seed = 3;
  return options;
}

TrainOptions train_options() {
  TrainOptions options;
  options.steps = 40;
  options.warmup = 4;
  options.log_every = 5;
  options.optimizer.ema_decay = 0.9;
  options.checkpoint_seconds = 0.02;
  return options;
}

void run_here(const fs::path& folder, const TrainOptions& options = train_options(),
              const TrainingIdentity& identity = {}) {
  at::set_num_threads(1);
  train(*make_task(vae_options(), {}, {}), options, identity, folder, {});
}

std::string final_state(const fs::path& folder) {
  return read_file(folder / "diffusion_pytorch_model.safetensors") + read_file(folder / "training/state.safetensors") +
         read_file(folder / "training/losses.jsonl") + read_file(folder / "config.json");
}

TEST(DISABLED_TrainChild, Run) { run_here(std::getenv("READBACK_TRAIN_CHILD")); }

TEST(Trainer, TenKillsLeaveTheWeightsOfAnUndisturbedTraining) {
  expect_kills_change_nothing(
      10, "DISABLED_TrainChild.Run", [](const fs::path& folder) { run_here(folder); }, final_state);
}

TEST(Trainer, TwoTrainingsInOneFolderAreRefused) {
  Folder folder;
  fs::create_directories(folder / "training");
  const FolderLock other(folder / "training" / "train.lock");
  try {
    run_here(folder);
    FAIL() << "trained beside another process";
  } catch (const StoreError& error) {
    EXPECT_NE(std::string(error.what()).find("in use by process " + std::to_string(::getpid())), std::string::npos)
        << error.what();
  }
}

TEST(Trainer, LossFalls) {
  Folder folder;
  TrainOptions options = train_options();
  options.steps = 120;
  options.log_every = 1;
  run_here(folder, options);
  std::ifstream log(folder / "training/losses.jsonl");
  std::vector<double> losses;
  for (std::string line; std::getline(log, line);) losses.push_back(nlohmann::json::parse(line)["loss"]);
  ASSERT_EQ(losses.size(), 120u);
  EXPECT_LT(losses.back(), 0.7 * losses.front());
}

TEST(Trainer, RefusesToGoOnWithOtherOptionsOrModels) {
  Folder folder;
  TrainOptions options = train_options();
  options.steps = 2;
  TrainingIdentity identity{.options = {{"steps", 2}, {"rate", 1}},
                            .defaults = {{"decay", 0}},
                            .start = {{"captioner", "a"}, {"generator", "b"}}};
  const auto refusal = [&] {
    try {
      run_here(folder, options, identity);
    } catch (const StoreError& error) {
      return std::string(error.what());
    }
    return std::string("went on");
  };
  EXPECT_EQ(refusal(), "went on");
  const auto expect_refusal = [&](const std::string& part) {
    EXPECT_NE(refusal().find(part), std::string::npos) << refusal();
  };
  identity.options["decay"] = 0;
  EXPECT_EQ(refusal(), "went on") << "an option that is newer than the training, at its default";
  identity.options["decay"] = 1;
  expect_refusal("begun with, decay = 0, got decay = 1. ");
  identity.options = {{"steps", 2}, {"rate", 10}, {"decay", 0}};
  expect_refusal("begun with, rate = 1, got rate = 10. ");
  identity.options["rate"] = 1;
  identity.start["generator"] = "c";
  expect_refusal("begun with, generator = \"b\", got generator = \"c\". ");
  write_file(folder / "training/identity.json", "[]");
  expect_refusal("identity.json: expected the options and the start of a training");
  fs::remove(folder / "training/identity.json");
  expect_refusal("whose random numbers were others");
}

TEST(Trainer, RefusesOptionsBeforeItWritesAnything) {
  const auto refused = [](auto change) {
    TrainOptions options = train_options();
    change(options);
    Folder folder;
    EXPECT_THROW(run_here(folder, options), UsageError);
    EXPECT_FALSE(fs::exists(folder / "training"));
  };
  refused([](TrainOptions& options) { options.learning_rate = NAN; });
  refused([](TrainOptions& options) { options.optimizer.ema_decay = 1; });
  refused([](TrainOptions& options) { options.optimizer.weight_decay = -1; });
}

TEST(Trainer, DoesNotSaveAModelThatIsNotFinite) {
  class Exploding : public Task {
   public:
    std::map<std::string, at::Tensor> parameters() const override { return {{"x", x_}}; }
    at::Tensor loss(int64_t, Metrics&) override { return -x_.sum(); }  // x grows beyond what floats hold
    void save(const fs::path&, const checkpoint::TensorMap&) const override { FAIL() << "saved"; }

   private:
    at::Tensor x_ = at::full({1}, 3e38f);
  } task;
  Folder folder;
  Progress silent;
  TrainOptions options = train_options();
  options.steps = 1;
  options.learning_rate = 3e38;
  options.warmup = 0;
  EXPECT_THROW(train(task, options, {}, folder, silent), Error);
}

TEST(Trainer, EndsAfterThreeLossesInARowThatAreNotFinite) {
  class Diverging : public Task {
   public:
    std::map<std::string, at::Tensor> parameters() const override { return {{"x", x_}}; }
    at::Tensor loss(int64_t step, Metrics&) override { return (x_ * (step < 5 ? 1.0 : NAN)).sum(); }
    void save(const fs::path&, const checkpoint::TensorMap&) const override { FAIL() << "a diverged model was saved"; }

   private:
    at::Tensor x_ = at::ones({1});
  } task;
  Folder folder;
  Progress silent;
  TrainOptions options = train_options();
  options.checkpoint_seconds = 0;
  try {
    train(task, options, {}, folder, silent);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("three losses in a row"), std::string::npos);
  }
  // What is kept to resume from is finite.
  const auto state = checkpoint::load_safetensors(folder / "training/state.safetensors");
  EXPECT_TRUE(at::isfinite(state.at("master.x")).all().item<bool>());
}

TEST(Trainer, AFullDiskLeavesTheStateBefore) {
  Folder undisturbed, folder;
  run_here(undisturbed);
  TrainOptions options = train_options();
  const fs::path state = folder / "training/state.safetensors";
  struct Stop : Progress {  // after half of the steps
    int64_t steps = 0;
    void advance(int64_t units, const std::string&) override {
      if ((steps += units) == 20) throw Interrupted("stop");
    }
  } stop;
  at::set_num_threads(1);
  options.checkpoint_seconds = 0;
  EXPECT_THROW(train(*make_task(vae_options(), {}, stop), options, {}, folder, stop), Interrupted);
  const std::string before = read_file(state);

  rlimit unlimited{};  // as tests/base/files_test.cpp fills the disk
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &unlimited), 0);
  ::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{10000, unlimited.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  EXPECT_THROW(run_here(folder, options), StoreError);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &unlimited), 0);
  EXPECT_EQ(read_file(state), before);
  run_here(folder);
  EXPECT_EQ(final_state(folder), final_state(undisturbed));
}

TEST(Tasks, MissingPartsAreErrors) {
  Progress silent;
  TaskOptions options = vae_options();
  options.task.reset();
  EXPECT_THROW(make_task(options, {}, silent), UsageError);
  options.task = TaskKind::kDiffusion;
  options.model = tests::source_dir().string() + "/recipes/emoji-scenes/generator";
  EXPECT_THROW(make_task(options, {}, silent), UsageError);
  options.task = TaskKind::kVae;
  options.model = "/nowhere";
  EXPECT_THROW(make_task(options, {}, silent), CheckpointError);
}

}  // namespace
}  // namespace readback::train
