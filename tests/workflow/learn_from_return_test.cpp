// Rounds of learning from what returned with tiny models.
#include "readback/workflow/learn_from_return.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "../ranks_job.h"
#include "../train/training_folder.h"
#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/checkpoint/safetensors.h"
#include "readback/roundtrip/store.h"
#include "tests/source_dir.h"

namespace readback::workflow {
namespace {

namespace fs = std::filesystem;
using train::Folder;

const std::string kGoldens = tests::source_dir().string() + "/tests/goldens/";

FinetuneOptions tiny_options(int64_t batch_size = 2) {
  FinetuneOptions options;
  options.task.losses = train::Losses::kReturn;
  options.task.models.captioner = kGoldens + "caption/blip";
  options.task.models.generator = kGoldens + "generate/pipeline";
  options.task.batches.batch_size = batch_size;
  options.task.batches.seed = 3;
  options.task.evaluation.samples = 4;
  options.task.evaluation.decoding.max_length = 8;
  options.task.returned.captioner_method = train::CaptionerMethod::kDpo;
  options.task.returned.image_cycle.by = {"psnr"};
  options.task.returned.text_cycle.by = {"likelihood"};
  options.train.steps = 6;
  options.train.checkpoint_seconds = 0.02;
  options.train.log_every = 1;
  options.rounds = 2;
  options.collect.pictures = options.collect.texts = "emoji-scenes";
  options.collect.pictures_from.limit = options.collect.texts_from.limit = 5;
  options.collect.texts_from.seed = 1;
  options.collect.num_candidates = 3;
  options.collect.sampling.max_length = options.collect.reading.max_length = 8;
  options.collect.generation.num_inference_steps = 2;
  options.collect.checkpoints.clip = "";
  options.collect.batch_size = 4;
  options.guard.probe = 0;  // tiny models return nothing
  options.guard.metrics = {"psnr", "ssim"};
  options.guard.confidence = 0.999999;  // nor do they get better
  options.guard.least_variety = 0;
  options.machine.device = "cpu";
  options.machine.dtype = "float32";
  options.machine.threads = 1;
  return options;
}

std::string final_state(const fs::path& folder) {
  return read_file(folder / "captioner/model.safetensors") +
         read_file(folder / "generator/unet/diffusion_pytorch_model.safetensors") +
         read_file(folder / "rounds/1/judgement.json") + read_file(folder / "rounds/2/judgement.json");
}

void learn(const fs::path& folder) { finetune(tiny_options(), folder); }

TEST(DISABLED_LearnChild, Learn) { learn(std::getenv("READBACK_TRAIN_CHILD")); }

TEST(LearnFromReturn, FiveKillsInCollectingAndLearningLeaveTheSameWeights) {
  train::expect_kills_change_nothing(
      5, "DISABLED_LearnChild.Learn", [](const fs::path& folder) { learn(folder); }, final_state);
}

// $READBACK_JOB: a folder.
TEST(DISABLED_LearnRanksChild, Learn) {
  finetune(tiny_options(), std::getenv("READBACK_JOB"), {}, Ranks(find_launch()));
}

TEST(LearnFromReturn, TwoProcessesEqualOneWithTwiceTheBatch) {
  Folder two, one;
  Job job(2, "DISABLED_LearnRanksChild.Learn", fs::path(two).string());
  ASSERT_EQ(job.wait(0), 0);
  ASSERT_EQ(job.wait(1), 0);
  finetune(tiny_options(4), one);
  for (const char* file : {"captioner/model.safetensors", "generator/unet/diffusion_pytorch_model.safetensors"}) {
    const auto a = checkpoint::load_safetensors(two / file), b = checkpoint::load_safetensors(one / file);
    for (const auto& [key, tensor] : a) EXPECT_LE((tensor - b.at(key)).abs().max().item<double>(), 1e-5) << key;
  }
}

TEST(LearnFromReturn, RoundsAreRunsTrainingsAndJudgements) {
  Folder folder;
  const FinetuneResult result = finetune(tiny_options(), folder);
  EXPECT_EQ(result.rounds, 2);
  EXPECT_EQ(result.best, 2);
  EXPECT_EQ(fs::read_symlink(folder / "captioner"), "rounds/2/trained/captioner");
  for (const char* round : {"rounds/1", "rounds/2"}) {
    const roundtrip::Store pictures = roundtrip::Store::open(folder / round / "pictures");
    EXPECT_EQ(pictures.count_complete(roundtrip::Direction::kI2T2I), 15);
    EXPECT_EQ(roundtrip::Store::open(folder / round / "texts").count_complete(roundtrip::Direction::kT2I2T), 15);
    const auto judgement = nlohmann::json::parse(read_file(folder / round / "judgement.json"));
    EXPECT_EQ(judgement["metrics"].size(), 2u + 2u + 1u + 0u) << judgement.dump(2);
    EXPECT_GT(judgement["drift"]["captioner"].get<double>(), 0);
    EXPECT_GT(judgement["drift"]["generator"].get<double>(), 0);
  }
  // The second round's candidates are those of the first round's models.
  const auto second = roundtrip::Store::open(folder / "rounds/2/pictures").manifest();
  EXPECT_NE(second.options["captioner"].get<std::string>().find("rounds/1/trained/captioner"), std::string::npos);
  // Again: nothing to do. With one round more it goes on; with other options it refuses.
  EXPECT_EQ(finetune(tiny_options(), folder).best, 2);
  FinetuneOptions other = tiny_options();
  other.collect.num_candidates = 2;
  EXPECT_THROW(finetune(other, folder), StoreError);
  FinetuneOptions more = tiny_options();
  more.rounds = 3;
  EXPECT_EQ(finetune(more, folder).best, 3);
}

// What parts them is guards_test's; this is what follows.
TEST(LearnFromReturn, EndsWhereRewardAndHeldOutPartWays) {
  Folder folder;
  finetune(tiny_options(), folder);
  auto judgement = nlohmann::json::parse(read_file(folder / "rounds/2/judgement.json"));
  judgement["parted"] = {"CIDEr fell"};
  write_file(folder / "rounds/2/judgement.json", judgement.dump());
  FinetuneOptions options = tiny_options();
  options.rounds = 3;
  const FinetuneResult result = finetune(options, folder);
  EXPECT_EQ(result.rounds, 2);
  EXPECT_EQ(result.best, 1);
  ASSERT_EQ(result.notes.size(), 2u);
  EXPECT_EQ(result.notes[1], "CIDEr fell");
  EXPECT_EQ(fs::read_symlink(folder / "captioner"), "rounds/1/trained/captioner");
  EXPECT_FALSE(fs::exists(folder / "rounds/3"));

  write_file(folder / "rounds/1/judgement.json", judgement.dump());
  EXPECT_EQ(finetune(options, folder).best, 0);
  EXPECT_FALSE(fs::exists(fs::symlink_status(folder / "captioner")));
}

// What tiny models draw is no nearer to their captions' pictures than to others.
TEST(LearnFromReturn, EndsBeforeItBeginsWhereTheReturnKnowsNothing) {
  FinetuneOptions options = tiny_options();
  options.guard.probe = 4;
  Folder folder;
  try {
    finetune(options, folder);
    ADD_FAILURE() << "it began";
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("psnr of i2t2i"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("random pairs"), std::string::npos) << error.what();
  }
  EXPECT_FALSE(fs::exists(folder / "rounds"));
}

// Without an evaluation's data set the first tenth of a user's own samples is held out.
TEST(LearnFromReturn, LearnsFromAFileOfTexts) {
  Folder folder;
  std::string texts;
  for (int i = 0; i < 20; ++i) texts += "text " + std::to_string(i) + "\n";
  write_file(folder / "texts.txt", texts);
  FinetuneOptions options = tiny_options();
  options.task.returned.captioner_method = train::CaptionerMethod::kNone;
  options.collect.texts = "texts:" + (folder / "texts.txt").string();
  options.collect.texts_from = {};
  options.guard.metrics = {"bleu-1"};
  options.rounds = 1;
  finetune(options, folder / "learned");
  EXPECT_EQ(roundtrip::Store::open(folder / "learned/rounds/1/texts").samples().size(), 18u);
  const auto held_out = roundtrip::Store::open(folder / "learned/rounds/1/held_out/texts").samples();
  ASSERT_EQ(held_out.size(), 2u);
  EXPECT_EQ(held_out[0].prompt(), "text 0");
}

TEST(LearnFromReturn, SaysWhatIsMissing) {
  const auto error_of = [](const FinetuneOptions& options) -> std::string {
    try {
      finetune(options, "unused");
    } catch (const UsageError& error) {
      return error.what();
    }
    return "";
  };
  FinetuneOptions options = tiny_options();
  options.collect.pictures.clear();
  EXPECT_NE(error_of(options).find("pictures"), std::string::npos);
  options = tiny_options();
  options.task.returned.image_cycle.by.clear();
  EXPECT_NE(error_of(options).find("image_cycle_by"), std::string::npos);
  options = tiny_options();
  options.task.returned.text_cycle.by = {"sweetness"};
  EXPECT_NE(error_of(options).find("cider"), std::string::npos);
  options = tiny_options();
  options.task.returned.image_cycle_run = "some/run";
  EXPECT_NE(error_of(options).find("rounds"), std::string::npos);
  options = tiny_options();
  options.machine.variant = "fp16";
  EXPECT_NE(error_of(options).find("variant: expected none while a captioner learns whole"), std::string::npos);
}

}  // namespace
}  // namespace readback::workflow
