// Learning from what returned, of tiny models and a run that is written by hand.
#include "readback/train/return_task.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "../ranks_job.h"
#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/train/lessons.h"
#include "taught_run.h"
#include "tiny_unified.h"
#include "training_folder.h"

namespace readback::train {
namespace {

using roundtrip::Direction;

class ReturnTask : public testing::Test {
 protected:
  static void SetUpTestSuite() { write_taught_run(taught()); }
  static void TearDownTestSuite() { fs::remove_all(taught()); }
  static fs::path taught() {
    // Children read what the parent has written.
    static const fs::path folder = std::getenv("READBACK_TAUGHT")
                                       ? fs::path(std::getenv("READBACK_TAUGHT"))
                                       : fs::temp_directory_path() / ("readback-taught-" + std::to_string(::getpid()));
    ::setenv("READBACK_TAUGHT", folder.c_str(), 1);
    return folder;
  }
};

UnifiedTaskOptions options_of(CaptionerMethod captioner, GeneratorMethod generator) {
  UnifiedTaskOptions options = task_options();
  options.losses = Losses::kReturn;
  options.batches.samples.dataset.clear();
  options.batches.degradation = 0;
  options.batches.unconditional = 0;
  options.returned.image_cycle_run = options.returned.text_cycle_run = std::getenv("READBACK_TAUGHT");
  options.returned.image_cycle.by = {"near"};
  options.returned.text_cycle.by = {"like"};
  options.returned.captioner_method = captioner;
  options.returned.generator_method = generator;
  return options;
}

// A kill may come in any of the methods: this one has most of them.
UnifiedTaskOptions mixed_options() {
  UnifiedTaskOptions options = options_of(CaptionerMethod::kDpo, GeneratorMethod::kSft);
  options.batches.samples.dataset = "emoji-scenes";
  options.returned.sft_temperature = 1;
  options.returned.generator_source = LessonSource::kBoth;
  return options;
}

void learn(const fs::path& folder, const UnifiedTaskOptions& options, const Ranks& ranks = {}) {
  at::set_num_threads(1);
  TrainOptions how = train_options();
  how.evaluate_every = 0;
  train(*make_return_task(options, {}, {}, ranks), how, {}, folder, {}, ranks);
}

std::string final_state(const fs::path& folder) {
  return read_file(folder / "captioner/model.safetensors") +
         read_file(folder / "generator/unet/diffusion_pytorch_model.safetensors") +
         read_file(folder / "training/losses.jsonl");
}

std::vector<nlohmann::json> logged(const fs::path& folder) {
  std::vector<nlohmann::json> lines;
  std::ifstream log(folder / "training/losses.jsonl");
  for (std::string line; std::getline(log, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

TEST(DISABLED_ReturnChild, Learn) { learn(std::getenv("READBACK_TRAIN_CHILD"), mixed_options()); }

TEST_F(ReturnTask, FiveKillsLeaveTheWeightsOfAnUndisturbedTraining) {
  expect_kills_change_nothing(
      5, "DISABLED_ReturnChild.Learn", [](const fs::path& folder) { learn(folder, mixed_options()); }, final_state);
}

TEST_F(ReturnTask, LessonsAreTheBestAndTheWorstOfASample) {
  const Lessons captions(taught(), Direction::kI2T2I, {.by = {"near"}}, Lessons::Needs::kGroups);
  ASSERT_EQ(captions.size(), kTaughtSamples);
  const Lessons pictures(taught(), Direction::kT2I2T, {.by = {"like"}}, Lessons::Needs::kComparisons);
  const roundtrip::Store store = roundtrip::Store::open(taught());
  for (uint64_t i = 0; i < 20; ++i) {
    const Lesson caption = captions.draw(Random(1, Purpose::kTest, "lesson", i), 0);
    const auto original = caption.row.picture.load();
    bool known = false;
    for (const roundtrip::SampleRow& sample : store.samples()) {
      if (sample.references[static_cast<size_t>(sample.position % 3)] != caption.row.caption) continue;
      known = original == store.load_image(sample.image) &&
              caption.rejected_caption == sample.references[static_cast<size_t>((sample.position + 1) % 3)] &&
              caption.candidates == std::vector<std::string>(sample.references.begin(), sample.references.begin() + 3);
      if (known) break;
    }
    EXPECT_TRUE(known) << caption.row.caption;
    EXPECT_EQ(caption.rewards.size(), 3u);

    const Lesson picture = pictures.draw(Random(1, Purpose::kTest, "lesson", i), 0);
    EXPECT_NE(picture.row.picture.name, picture.rejected_picture.name);
    EXPECT_NE(picture.row.picture.name.find("t2i2t"), std::string::npos);
  }
}

// At a temperature the best is drawn most often, and the others too.
TEST_F(ReturnTask, ATemperatureDrawsAlsoOtherCandidates) {
  const Lessons lessons(taught(), Direction::kI2T2I, {.by = {"near"}}, Lessons::Needs::kChosen);
  const auto best = [&](double temperature) {
    int count = 0;
    for (uint64_t i = 0; i < 300; ++i) {
      const Random random(2, Purpose::kTest, "draw", i);
      count += lessons.draw(random, temperature).row.caption == lessons.draw(random, 0).row.caption;
    }
    return count;
  };
  EXPECT_EQ(best(0.01), 300);
  // Rewards 0, -2, -1: advantages 1, -1, 0, of which the first has e / (e + 1 + 1/e) = 0.665.
  EXPECT_NEAR(best(1), 0.665 * 300, 35);
  EXPECT_NEAR(best(100), 100, 35);
}

TEST_F(ReturnTask, EachMethodLogsItsLossAndTrainsItsModel) {
  const auto losses_of = [](CaptionerMethod captioner, GeneratorMethod generator) {
    Folder folder;
    learn(folder, options_of(captioner, generator));
    EXPECT_EQ(fs::exists(folder / "captioner"), captioner != CaptionerMethod::kNone);
    EXPECT_EQ(fs::exists(folder / "generator"), generator != GeneratorMethod::kNone);
    return logged(folder);
  };
  const auto sft = losses_of(CaptionerMethod::kSft, GeneratorMethod::kSft);
  EXPECT_TRUE(sft.front().contains("image_cycle_lm"));
  EXPECT_TRUE(sft.front().contains("text_cycle_diffusion"));
  // Before the first update a model is its own reference: h = 0, -log σ(0) = log 2; and all ratios are 1.
  const auto dpo = losses_of(CaptionerMethod::kDpo, GeneratorMethod::kDpo);
  EXPECT_NEAR(dpo.front()["captioner_dpo"].get<double>(), std::log(2.0), 1e-5);
  EXPECT_NEAR(dpo.front()["generator_dpo"].get<double>(), std::log(2.0), 1e-5);
  EXPECT_LT(dpo.back()["captioner_dpo"].get<double>(), std::log(2.0));
  const auto grpo = losses_of(CaptionerMethod::kGrpo, GeneratorMethod::kNone);
  EXPECT_NEAR(grpo.front()["captioner_grpo_divergence"].get<double>(), 0, 1e-6);
  EXPECT_EQ(grpo.front()["captioner_grpo_clipped"].get<double>(), 0);
  EXPECT_GT(grpo.back()["captioner_grpo_divergence"].get<double>(), 0);
}

TEST_F(ReturnTask, CleanPairsTeachBesides) {
  UnifiedTaskOptions options = options_of(CaptionerMethod::kSft, GeneratorMethod::kSft);
  options.batches.samples.dataset = "emoji-scenes";
  Folder folder;
  learn(folder, options);
  EXPECT_TRUE(logged(folder).front().contains("supervised_lm"));
  EXPECT_TRUE(logged(folder).front().contains("supervised_diffusion"));
}

// A pair of picture and text can teach either model.
TEST_F(ReturnTask, TheOtherCyclesPairsTeachToo) {
  UnifiedTaskOptions options = options_of(CaptionerMethod::kSft, GeneratorMethod::kNone);
  options.returned.captioner_source = LessonSource::kOther;
  options.returned.image_cycle_run.clear();  // is not needed
  Folder folder;
  learn(folder, options);
  EXPECT_TRUE(logged(folder).front().contains("image_cycle_lm"));
}

TEST_F(ReturnTask, GradientCheckpointingChangesNoGradient) {
  const auto gradient = [](bool checkpointing) {
    UnifiedTaskOptions options = options_of(CaptionerMethod::kDpo, GeneratorMethod::kDpo);
    options.gradient_checkpointing = checkpointing;
    const auto task = make_return_task(options, {}, {});
    const auto parameters = task->parameters();
    for (const auto& [name, parameter] : parameters) parameter.requires_grad_(true);
    Metrics metrics;
    task->loss(0, metrics).backward();
    std::vector<at::Tensor> gradients;
    for (const auto& [name, parameter] : parameters) gradients.push_back(parameter.grad().flatten());
    return at::cat(gradients);
  };
  const at::Tensor kept = gradient(false);
  EXPECT_GT(kept.norm().item<double>(), 0);
  EXPECT_LE((gradient(true) - kept).norm().item<double>(), 1e-5 * kept.norm().item<double>());
}

TEST_F(ReturnTask, SaysWhatIsWrong) {
  const auto error_of = [](const UnifiedTaskOptions& options) -> std::string {
    try {
      make_return_task(options, {}, {});
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  UnifiedTaskOptions options = options_of(CaptionerMethod::kDpo, GeneratorMethod::kNone);
  options.returned.captioner_source = LessonSource::kOther;
  EXPECT_NE(error_of(options).find("captioner_source"), std::string::npos);
  options = options_of(CaptionerMethod::kSft, GeneratorMethod::kNone);
  options.returned.image_cycle_run.clear();
  EXPECT_NE(error_of(options).find("image_cycle_run"), std::string::npos);
  EXPECT_NE(error_of(options_of(CaptionerMethod::kNone, GeneratorMethod::kNone)).find("something to train"),
            std::string::npos);
  options = options_of(CaptionerMethod::kSft, GeneratorMethod::kNone);
  options.returned.image_cycle.margin = 100;
  EXPECT_NE(error_of(options).find("6 below the margin"), std::string::npos);
}

// $READBACK_JOB: a method and a folder.
TEST(DISABLED_ReturnRanksChild, Learn) {
  std::istringstream job(std::getenv("READBACK_JOB"));
  std::string method, folder;
  job >> method >> folder;
  UnifiedTaskOptions options = options_of(parse_enum<CaptionerMethod>("method", method), GeneratorMethod::kSft);
  options.returned.grpo.average = GrpoAverage::kToken;
  options.batches.batch_size = 2;
  learn(folder, options, Ranks(find_launch()));
}

TEST_F(ReturnTask, TwoProcessesEqualOneWithTwiceTheBatch) {
  for (const char* method : {"sft", "dpo", "grpo"}) {
    Folder two, one;
    Job job(2, "DISABLED_ReturnRanksChild.Learn", std::string(method) + " " + fs::path(two).string());
    ASSERT_EQ(job.wait(0), 0) << method;
    ASSERT_EQ(job.wait(1), 0) << method;
    UnifiedTaskOptions options = options_of(parse_enum<CaptionerMethod>("method", method), GeneratorMethod::kSft);
    options.returned.grpo.average = GrpoAverage::kToken;
    options.batches.batch_size = 4;
    learn(one, options);
    for (const char* file : {"captioner/model.safetensors", "generator/unet/diffusion_pytorch_model.safetensors"}) {
      const auto a = checkpoint::load_safetensors(two / file), b = checkpoint::load_safetensors(one / file);
      for (const auto& [key, tensor] : a) {
        EXPECT_LE((tensor - b.at(key)).abs().max().item<double>(), 1e-5) << method << " " << key;
      }
    }
  }
}

}  // namespace
}  // namespace readback::train
