// What the verbs say that hand a run on, and those that make one for a purpose.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "program.h"

namespace readback {
namespace {

constexpr const char* kQuick = "--num-candidates 3 --num-inference-steps 2 ";

class Export : public Cli {
 protected:
  void make_run(const std::string& more = "") {
    const Outcome outcome =
        run("run emoji-scenes --limit 2 --metrics clip-image,clip-text " + more + kQuick + "--output " + path("run"));
    ASSERT_EQ(outcome.status, 0) << outcome.err;
  }
};

TEST_F(Export, PrintsWhereItWrote) {
  make_run("--directions i2t2i ");
  const Outcome outcome = run("export " + path("run") + " --as csv");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, path("run") + "/export-i2t2i.csv\n");
  EXPECT_NE(outcome.err.find("6 records"), std::string::npos) << outcome.err;
}

TEST_F(Export, SaysWhichDirectionsThereAreAndWhatIsMissing) {
  make_run();
  Outcome outcome = run("export " + path("run") + " --as csv");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_NE(outcome.err.find("--direction"), std::string::npos) << outcome.err;
  outcome = run("export " + path("run") + " --as side-files --direction i2t2i");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_NE(outcome.err.find("the option output"), std::string::npos) << outcome.err;
  outcome = run("export " + path("nothing") + " --as csv");
  EXPECT_EQ(outcome.status, 1);
  outcome = run("export " + path("run") + " --as preferences --direction t2i2t --output " + path("pairs"));
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_TRUE(std::filesystem::exists(path("pairs/train/metadata.jsonl")));
}

TEST_F(Export, SelectPrintsTheCaptionThatCameBackNearest) {
  export_scenes(1);
  const Outcome outcome = run("select " + path("scenes") + " --by clip-image,likelihood --format jsonl " + kQuick +
                              "--output " + path("run"));
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const auto line = nlohmann::json::parse(outcome.out);
  EXPECT_EQ(line["caption"], line["candidates"][0]["text"]);
  EXPECT_EQ(line["candidates"].size(), 3u);
  EXPECT_EQ(run("report " + path("run")).status, 0);
}

TEST_F(Export, SelectWritesAPictureAPrompt) {
  write_file(path("prompts.txt"), "a cat\na dog\n");
  Outcome outcome = run("select --prompts " + path("prompts.txt") + " --pictures " + path("drawn") + " " + kQuick);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_TRUE(std::filesystem::exists(path("drawn/1.png")));
  EXPECT_TRUE(std::filesystem::exists(path("drawn/2.png")));
  outcome = run("select");
  EXPECT_EQ(outcome.status, 2);
}

TEST_F(Export, MatrixPrintsEveryCell) {
  const Outcome outcome = run(
      std::string("matrix emoji-scenes --limit 2 --directions i2t2i --metrics psnr --captioners emoji-scenes/captioner "
                  "--generators emoji-scenes/generator,emoji-scenes/noisy-generator ") +
      kQuick + "--output " + path("matrix"));
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("g2  emoji-scenes/noisy-generator"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("c1-g1 − c1-g2"), std::string::npos) << outcome.out;
  EXPECT_TRUE(std::filesystem::exists(path("matrix/c1-g2/run.json")));
  EXPECT_TRUE(std::filesystem::exists(path("matrix/matrix.json")));
}

}  // namespace
}  // namespace readback
