// What a run refuses before it makes anything, and that its own models judge where no others are named.
#include "readback/workflow/run.h"

#include <gtest/gtest.h>

#include <set>

#include "../roundtrip/fakes.h"
#include "readback/base/files.h"
#include "readback/image/codec.h"
#include "tests/source_dir.h"

namespace readback::workflow {
namespace {

using namespace roundtrip;

class JudgingCaptioner final : public fakes::Captioner {
 public:
  caption::Capabilities capabilities() const override { return {.text_probabilities = true}; }
  std::vector<Result<caption::TextProbability>> text_probabilities(std::span<const image::Image* const> images,
                                                                   std::span<const std::string>,
                                                                   const Context&) override {
    judged += std::ssize(images);
    return std::vector<Result<caption::TextProbability>>(images.size(), caption::TextProbability{-3, 2});
  }
  int64_t judged = 0;
};

RunOptions judged(const std::string& metric) {
  RunOptions options;
  options.dataset = "emoji-scenes";
  options.dataset_options.limit = 2;
  options.num_candidates = 2;
  options.metrics = {metric};
  return options;
}

TEST(Run, ItsOwnModelsJudge) {
  const fakes::Folder folder;
  JudgingCaptioner captioner;
  fakes::Generator generator;
  const RunResult result = run(judged("text-probability"), captioner, generator, folder);
  EXPECT_EQ(result.metrics, std::vector<std::string>{"text-probability"});
  EXPECT_GE(captioner.judged, 2 * 2 * 2);  // directions, samples, candidates
  const Store store = Store::open(folder);
  for (const ScoreRow& row : store.scores(Direction::kT2I2T, "text-probability")) EXPECT_EQ(row.value, -1.5);
}

TEST(Run, MeasuresAlikeWhateverTheVariantOfItsModels) {
  const fakes::Folder folder;
  fakes::Captioner captioner;
  fakes::Generator generator;
  RunOptions options = judged("clipscore");
  options.machine.variant = "fp16";  // which the CLIP that nobody named has not
  const RunResult result = run(options, captioner, generator, folder);
  EXPECT_EQ(result.metrics, std::vector<std::string>{"clipscore"});
  EXPECT_TRUE(result.failures.empty());
}

class FewShotCaptioner final : public fakes::Captioner {
 public:
  explicit FewShotCaptioner(bool takes) : takes_(takes) {}
  caption::Capabilities capabilities() const override { return {.honours_seeds = true, .examples = takes_}; }
  std::vector<Result<std::vector<caption::Caption>>> caption(std::span<const caption::Request> requests,
                                                             const caption::DecodingOptions& options,
                                                             const Context& context) override {
    for (const caption::Request& request : requests) examples.insert(request.examples.size());
    return fakes::Captioner::caption(requests, options, context);
  }
  std::set<size_t> examples;  // of every request

 private:
  bool takes_;
};

TEST(Run, EveryPictureIsCaptionedAndReadAfterTheExamples) {
  const fakes::Folder folder, shots;
  image::save(fakes::grey(80), shots.path() / "a.png");
  write_file(shots.path() / "shots.jsonl", "{\"image\": \"a.png\", \"caption\": \"shade 80\"}\n");
  RunOptions options = judged("psnr");
  options.shots = (shots.path() / "shots.jsonl").string();
  fakes::Generator generator;
  FewShotCaptioner without(false);
  EXPECT_THROW(run(options, without, generator, folder), UsageError);
  FewShotCaptioner with(true);
  run(options, with, generator, folder);
  EXPECT_EQ(with.examples, std::set<size_t>{2});
  options.shots.clear();
  EXPECT_THROW(run(options, with, generator, folder), StoreError);  // another run
}

TEST(Run, RecordsByWhichRuleTheGeneratorsDefaultsWereChosen) {
  struct Ruled final : fakes::Generator {
    std::string defaults_rule() const override { return "one step, as its makers say"; }
  } ruled;
  fakes::Generator plain;
  JudgingCaptioner captioner;
  for (generate::Generator* generator :
       {static_cast<generate::Generator*>(&ruled), static_cast<generate::Generator*>(&plain)}) {
    const fakes::Folder folder;
    run(judged("text-probability"), captioner, *generator, folder);
    EXPECT_EQ(Store::open(folder).manifest().about.value("generator_defaults", ""), generator->defaults_rule());
  }
}

TEST(Run, RefusesJudgesThatCannotTell) {
  const fakes::Folder folder;
  fakes::Captioner captioner;
  fakes::Generator generator;
  for (const auto& [metric, option] :
       {std::pair("text-probability", "judge_captioner"), std::pair("vqascore", "judge_captioner"),
        std::pair("denoising-error", "judge_generator")}) {
    try {
      run(judged(metric), captioner, generator, folder);
      FAIL() << metric;
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find(option), std::string::npos) << error.what();
    }
  }
}

// Before anything is captioned.
TEST(Run, RefusesOptionsThatTheGeneratorDoesNotHave) {
  const fakes::Folder folder;
  fakes::Captioner captioner;
  fakes::Generator generator;
  RunOptions options;
  options.dataset = "emoji-scenes";
  options.dataset_options.limit = 1;
  options.generation.prior_guidance_scale = 4.0;
  try {
    run(options, captioner, generator, folder);
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_NE(std::string(error.what()).find("prior_guidance_scale"), std::string::npos) << error.what();
  }
  EXPECT_EQ(captioner.calls, 0u);
}

RunOptions with_ceiling(const char* golden) {
  RunOptions options;
  options.dataset = "emoji-scenes";
  options.dataset_options.limit = 2;
  options.num_candidates = 2;
  options.metrics = {"psnr", "oracle-image"};
  options.ceiling = (tests::source_dir() / "tests/goldens/generate" / golden).string();
  return options;
}

TEST(Run, DrawsTheCeilingByAnotherRepository) {
  const fakes::Folder folder;
  fakes::Captioner captioner;
  fakes::Generator generator;
  const RunOptions options = with_ceiling("karlo-variations");
  const RunResult result = run(options, captioner, generator, folder);
  EXPECT_TRUE(result.failures.empty());
  const Store store = Store::open(folder);
  for (const char* metric : {"psnr", "oracle-image"}) EXPECT_EQ(store.ceilings(metric).size(), 2u) << metric;
  EXPECT_EQ(store.load_image(ceiling_file(store.samples()[0].id)).width, 20);
  EXPECT_TRUE(store.manifest().digests.contains("ceiling"));
}

// Before anything is captioned.
TEST(Run, RefusesCeilingsThatCannotBe) {
  const fakes::Folder folder;
  fakes::Captioner captioner;
  fakes::Generator generator;
  EXPECT_THROW(run(with_ceiling("karlo"), captioner, generator, folder), CheckpointError);
  RunOptions options = with_ceiling("karlo-variations");
  options.directions = {Direction::kT2I2T};
  EXPECT_THROW(run(options, captioner, generator, folder), UsageError);
  EXPECT_EQ(captioner.calls, 0u);
}

}  // namespace
}  // namespace readback::workflow
