// A training that is killed again and again ends with the weights of an undisturbed one.
#include "readback/train/trainer.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/folder_lock.h"
#include "readback/base/random.h"
#include "readback/checkpoint/safetensors.h"

namespace readback::train {
namespace {

namespace fs = std::filesystem;

class Folder {
 public:
  Folder() {
    static int count = 0;
    path_ =
        fs::temp_directory_path() / ("readback-train-" + std::to_string(::getpid()) + "-" + std::to_string(count++));
    fs::remove_all(path_);
  }
  ~Folder() { fs::remove_all(path_); }
  operator fs::path() const { return path_; }
  fs::path operator/(const std::string& name) const { return path_ / name; }

 private:
  fs::path path_;
};

TaskOptions vae_options() {
  TaskOptions options;
  options.task = "vae";
  options.model = std::string(READBACK_SOURCE_DIR) + "/recipes/emoji-scenes/vae";
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
  options.recipe = "test\n";
  return options;
}

void run_here(const fs::path& folder, const TrainOptions& options = train_options()) {
  at::set_num_threads(1);
  Progress silent;
  const auto task = make_task(vae_options(), silent);
  train(*task, options, folder, silent);
}

std::string final_state(const fs::path& folder) {
  return read_file(folder / "diffusion_pytorch_model.safetensors") + read_file(folder / "training/state.safetensors") +
         read_file(folder / "training/losses.jsonl") + read_file(folder / "config.json");
}

// The child is a fresh process (this test program with another filter): threads do not survive a fork.
TEST(DISABLED_TrainChild, Run) { run_here(std::getenv("READBACK_TRAIN_CHILD")); }

pid_t start_child(const fs::path& folder) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv("READBACK_TRAIN_CHILD", fs::path(folder).c_str(), 1);
    ::freopen("/dev/null", "w", stdout);
    ::execl("/proc/self/exe", "test_train", "--gtest_filter=DISABLED_TrainChild.Run", "--gtest_also_run_disabled_tests",
            nullptr);
    ::_exit(127);
  }
  return child;
}

TEST(Trainer, TenKillsLeaveTheWeightsOfAnUndisturbedTraining) {
  Folder undisturbed;
  run_here(undisturbed);
  const std::string expected = final_state(undisturbed);

  using Clock = std::chrono::steady_clock;
  Folder timed;
  const Clock::time_point start = Clock::now();
  int status = 0;
  ASSERT_GT(::waitpid(start_child(timed), &status, 0), 0);
  ASSERT_EQ(status, 0);
  EXPECT_EQ(final_state(timed), expected);
  const int64_t whole_us = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start).count();

  Random random(1, "kills");
  int kills = 0;
  while (kills < 10) {
    Folder folder;
    while (kills < 10) {
      const pid_t child = start_child(folder);
      ::usleep(static_cast<useconds_t>(random.below(whole_us)));
      ::kill(child, SIGKILL);
      ASSERT_EQ(::waitpid(child, &status, 0), child);
      if (WIFEXITED(status)) break;  // it came to its end before
      ++kills;
    }
    run_here(folder);
    EXPECT_EQ(final_state(folder), expected);
  }
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

TEST(Trainer, RefusesToGoOnWithOtherOptions) {
  Folder folder;
  TrainOptions options = train_options();
  options.steps = 2;
  run_here(folder, options);
  options.recipe = "another\n";
  EXPECT_THROW(run_here(folder, options), StoreError);
}

TEST(Trainer, EndsAfterThreeLossesInARowThatAreNotFinite) {
  class Diverging : public Task {
   public:
    std::map<std::string, at::Tensor> parameters() const override { return {{"x", x_}}; }
    at::Tensor loss(int64_t step, Figures&) override { return (x_ * (step < 5 ? 1.0 : NAN)).sum(); }
    void save(const fs::path&, const checkpoint::TensorMap&) const override { FAIL() << "a diverged model was saved"; }

   private:
    at::Tensor x_ = at::ones({1});
  } task;
  Folder folder;
  Progress silent;
  TrainOptions options = train_options();
  options.checkpoint_seconds = 0;
  try {
    train(task, options, folder, silent);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("three in a row"), std::string::npos);
  }
  // What is kept to resume from is finite.
  const auto state = checkpoint::load_safetensors(folder / "training/state.safetensors");
  EXPECT_TRUE(at::isfinite(state.at("master.x")).all().item<bool>());
}

TEST(Tasks, UnknownNamesAndMissingPartsAreErrors) {
  Progress silent;
  TaskOptions options = vae_options();
  options.task = "gan";
  EXPECT_THROW(make_task(options, silent), UsageError);
  options.task = "diffusion";
  options.model = std::string(READBACK_SOURCE_DIR) + "/recipes/emoji-scenes/generator";
  EXPECT_THROW(make_task(options, silent), UsageError);
  options.task = "vae";
  options.model = "/nowhere";
  EXPECT_THROW(make_task(options, silent), CheckpointError);
}

}  // namespace
}  // namespace readback::train
