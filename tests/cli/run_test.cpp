// `readback run`: its flags, its status, its summary.
#include <fmt/format.h>

#include <algorithm>

#include "program.h"
#include "readback/base/files.h"
#include "readback/roundtrip/options.h"
#include "readback/roundtrip/store.h"

namespace readback {
namespace {

using RunVerb = Cli;

constexpr const char* kQuick = "--num-candidates 2 --num-inference-steps 2 --metrics oracle-text ";

TEST_F(RunVerb, HelpListsEveryDeclaredOption) {
  const std::string help = run("run --help").out;
  int count = 0;
  roundtrip::RunOptions options;
  for_each_option(options, [&](const auto& option, const auto&, const std::string& path, std::string name) {
    if (option.scope == Scope::kCall || path == "dataset") return;  // set by the run itself; the argument DATASET
    std::replace(name.begin(), name.end(), '_', '-');
    EXPECT_NE(help.find("--" + name), std::string::npos) << path;
    ++count;
  });
  EXPECT_GT(count, 40);
}

TEST_F(RunVerb, EndsWithZeroWhenAllWentWell) {
  const Outcome outcome = run(std::string("run emoji-scenes --limit 2 ") + kQuick + "--output " + path("run"));
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, path("run") + "\n");
}

TEST_F(RunVerb, EndsWithOneWhenSamplesFailedAndSaysWhy) {
  export_scenes(3);
  write_file(path("scenes/test-00002.png"), "no picture");
  const std::string command = "run " + path("scenes") + " " + kQuick + "--directions i2t2i --output " + path("run");
  const Outcome outcome = run(command);
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.err.find("1 of 3 samples failed"), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("test-00002 (original)"), std::string::npos) << outcome.err;
  EXPECT_EQ(roundtrip::Store::open(path("run")).count_complete(roundtrip::Direction::kI2T2I), 4);
}

TEST_F(RunVerb, EndsWithOneWhenEverySampleFailed) {
  write_file(path("scenes/a.png"), "no picture");
  write_file(path("scenes/b.png"), "nor this");
  const Outcome outcome = run("run " + path("scenes") + " " + kQuick + "--directions i2t2i --output " + path("run"));
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.err.find("2 of 2 samples failed"), std::string::npos) << outcome.err;
}

// The reader of reconstructions gets its own flags, which change what comes out.
TEST_F(RunVerb, ReadingFlagsAreHeard) {
  const std::string base = std::string("run emoji-scenes --limit 1 --directions t2i2t ") + kQuick;
  ASSERT_EQ(run(base + "--output " + path("a")).status, 0);
  ASSERT_EQ(run(base + "--reading-max-length 6 --reading-min-length 0 --output " + path("b")).status, 0);
  const auto words = [&](const char* folder) {
    return *roundtrip::Store::open(path(folder)).candidates(roundtrip::Direction::kT2I2T).front().text;
  };
  EXPECT_NE(words("a"), words("b"));
  const Outcome other = run(base + "--reading-num-beams 2 --output " + path("a"));
  EXPECT_EQ(other.status, 1);
  EXPECT_NE(other.err.find("reading.num_beams: 3 in the run, 2 now"), std::string::npos) << other.err;
}

TEST_F(RunVerb, OptionsThatWouldDoNothingAreRefused) {
  const Outcome outcome = run("run emoji-scenes --limit 1 --num-beams 5 --output " + path("run"));
  EXPECT_EQ(outcome.status, 2);
  EXPECT_NE(outcome.err.find("num_beams"), std::string::npos) << outcome.err;
  export_scenes(1);
  EXPECT_EQ(run("caption --top-p 0.5 " + path("scenes/test-00000.png")).status, 2);
}

// Hours of work must not end in a metric that could never have been measured.
TEST_F(RunVerb, AFolderThatIsNoModelOfAMetricIsRefusedAtOnce) {
  write_file(folder_ / "nothing" / "readme.txt", "no model");
  const Outcome outcome =
      run("run emoji-scenes --limit 1 --num-candidates 1 --sbert " + path("nothing") + " --output " + path("run"));
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.err.find("config.json"), std::string::npos) << outcome.err;
  EXPECT_EQ(outcome.err.find("round trips"), std::string::npos) << outcome.err;
}

TEST_F(RunVerb, TextsAreDrawnAndReadWithoutPictures) {
  write_file(folder_ / "texts.txt", "a fox above a rocket on a blue background\na cat on a red background\n");
  const Outcome outcome = run("run texts:" + path("texts.txt") +
                              " --directions t2i2t --num-candidates 2 --num-inference-steps 2 --output " + path("run"));
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.err.find("4 round trips"), std::string::npos) << outcome.err;
  EXPECT_EQ(run("report " + path("run")).status, 0);
  EXPECT_EQ(run("run texts:" + path("texts.txt") + " --output " + path("other")).status, 2);
}

TEST_F(RunVerb, AModelInAnothersPlaceIsNamed) {
  const Outcome outcome = run("run emoji-scenes --limit 1 --captioner emoji-scenes/generator --output " + path("run"));
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.err.find("a captioner: "), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("got StableDiffusionPipeline"), std::string::npos) << outcome.err;
}

}  // namespace
}  // namespace readback
