// Captioners over language models, and generators beside Stable Diffusion 1.x, driven by the trainer.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "../ranks_job.h"
#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/caption/open.h"
#include "readback/generate/open.h"
#include "readback/train/return_task.h"
#include "taught_run.h"
#include "tiny_unified.h"
#include "training_folder.h"

namespace readback::train {
namespace {

UnifiedTaskOptions options_of(const std::string& captioner, Selection selection) {
  UnifiedTaskOptions options = task_options();
  options.models.captioner = kGoldens + "multimodal/" + captioner;
  options.models.train_captioner = selection;
  options.models.lora.rank = 2;
  options.batches.degradation = 0;
  options.evaluation.decoding.max_new_tokens = 9;  // BLIP-2 says eight at least
  return options;
}

Selection selection_of(const std::string& captioner) {
  return captioner.starts_with("blip2") ? Selection::kXattnQ : Selection::kLoraBridge;
}

void run_steps(const fs::path& folder, const UnifiedTaskOptions& task, int64_t steps, const Ranks& ranks = {}) {
  at::set_num_threads(1);
  TrainOptions how = train_options();
  how.steps = steps;
  const auto made =
      task.losses == Losses::kReturn ? make_return_task(task, {}, {}, ranks) : make_unified_task(task, {}, {}, ranks);
  train(*made, how, {}, folder, {}, ranks);
}

// "CAPTIONER FOLDER BATCH" in $READBACK_JOB, or $READBACK_TUNED with $READBACK_TRAIN_CHILD.
TEST(DISABLED_TunedChild, Ranks) {
  std::istringstream job(std::getenv("READBACK_JOB"));
  std::string captioner, folder;
  job >> captioner >> folder;
  const Context context(stop_on_sigint());
  run_steps(folder, options_of(captioner, selection_of(captioner)), 6, Ranks(find_launch(), context));
}
TEST(DISABLED_TunedChild, Run) {
  const std::string captioner = std::getenv("READBACK_TUNED");
  run_steps(std::getenv("READBACK_TRAIN_CHILD"), options_of(captioner, selection_of(captioner)), 6);
}

class TunedTask : public testing::TestWithParam<const char*> {};

TEST_P(TunedTask, KillsLeaveTheWeightsOfAnUndisturbedTrainingWhichACaptionerReads) {
  const std::string captioner = GetParam();
  ::setenv("READBACK_TUNED", captioner.c_str(), 1);
  const bool whole = selection_of(captioner) == Selection::kXattnQ;
  const std::string weights = whole ? "captioner/model.safetensors" : "captioner/adapter_model.safetensors";
  expect_kills_change_nothing(
      2, "DISABLED_TunedChild.Run",
      [&](const fs::path& folder) { run_steps(folder, options_of(captioner, selection_of(captioner)), 6); },
      [&](const fs::path& folder) {
        EXPECT_NO_THROW(caption::open(folder / "captioner", {}));
        return read_file(folder / weights) + read_file(folder / "training/losses.jsonl") +
               read_file(folder / "generator/unet/diffusion_pytorch_model.safetensors");
      });
}

TEST_P(TunedTask, TwoProcessesEqualOneWithTwiceTheBatch) {
  const std::string captioner = GetParam();
  Folder two, one;
  expect_done(Job(2, "DISABLED_TunedChild.Ranks", captioner + " " + fs::path(two).string()), 2);
  UnifiedTaskOptions options = options_of(captioner, selection_of(captioner));
  options.batches.batch_size *= 2;
  run_steps(one, options, 6);
  const auto expected = checkpoint::load_safetensors(one / "training/state.safetensors");
  int compared = 0;
  for (const auto& [key, tensor] : checkpoint::load_safetensors(two / "training/state.safetensors")) {
    if (!key.starts_with("master.captioner.")) continue;
    EXPECT_LE((tensor - expected.at(key)).abs().max().item<double>(), 1e-5) << key;
    ++compared;
  }
  EXPECT_GE(compared, 2);
}

TEST_P(TunedTask, LearnsByEveryWayOfReturn) {
  Folder taught;
  write_taught_run(taught);
  for (const CaptionerMethod method : {CaptionerMethod::kSft, CaptionerMethod::kDpo, CaptionerMethod::kGrpo}) {
    Folder folder;
    UnifiedTaskOptions options = options_of(GetParam(), Selection::kBridge);
    options.losses = Losses::kReturn;
    options.batches.samples.dataset.clear();
    options.returned.image_cycle_run = fs::path(taught).string();
    options.returned.image_cycle.by = {"near"};
    options.returned.captioner_method = method;
    options.returned.generator_method = GeneratorMethod::kNone;
    run_steps(folder, options, 6);
    EXPECT_NO_THROW(caption::open(folder / "captioner", {})) << name_of(method);
    EXPECT_FALSE(fs::exists(folder / "generator"));
    std::ifstream log(folder / "training/losses.jsonl");
    int lines = 0;
    for (std::string line; std::getline(log, line); ++lines) {
      EXPECT_TRUE(std::isfinite(nlohmann::json::parse(line)["loss"].get<double>())) << line;
    }
    EXPECT_EQ(lines, 6);
  }
}

INSTANTIATE_TEST_SUITE_P(Train, TunedTask, testing::Values("blip2-opt", "blip2-flan-t5", "idefics", "smolvlm"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(TunedTasks, OtherGeneratorsLearnByTheirOwnLossAndByPreference) {
  Folder taught;
  write_taught_run(taught);
  for (const std::string generator : {"pipeline-xl", "pipeline-lcm"}) {
    UnifiedTaskOptions options = task_options();
    options.models.generator = kGoldens + "generate/" + generator;
    options.losses = Losses::kDiffusion;
    options.evaluation.samples = 1;
    Folder folder, preferred;
    run_steps(folder, options, 4);
    EXPECT_NO_THROW(generate::open(folder / "generator", {})) << generator;
    options.losses = Losses::kReturn;
    options.batches.samples.dataset.clear();
    options.returned.text_cycle_run = fs::path(taught).string();
    options.returned.text_cycle.by = {"like"};
    options.returned.captioner_method = CaptionerMethod::kNone;
    options.returned.generator_method = GeneratorMethod::kDpo;
    options.models.train_generator = Selection::kLoraXattnQkv;
    run_steps(preferred, options, 4);
    EXPECT_NO_THROW(generate::open(preferred / "generator", {})) << generator;
  }
}

template <typename Error>
void expect_refused(const UnifiedTaskOptions& options, const std::string& part) {
  try {
    make_unified_task(options, {}, {});
    FAIL() << "accepted: " << part;
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(TunedTasks, WhatCannotBeTunedSaysWhatWould) {
  UnifiedTaskOptions options = options_of("smolvlm", Selection::kXattnQ);
  expect_refused<UsageError>(options, "bridge, all or adapters of these (lora:bridge, lora:all) for SmolVLM");
  options = task_options();
  options.models.generator = kGoldens + "generate/karlo";
  expect_refused<CheckpointError>(options, "Karlo's");
  for (const std::string generator : {"pipeline-xl", "pipeline-lcm"}) {
    options.models.generator = kGoldens + "generate/" + generator;
    expect_refused<UsageError>(options, "losses diffusion and return");
  }
}

}  // namespace
}  // namespace readback::train
