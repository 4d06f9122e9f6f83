// Models and data sets of a hub, by name.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <optional>

#include "program.h"
#include "tests/hub_of_folders.h"
#include "tests/source_dir.h"

namespace readback {
namespace {

class Pull : public Cli {
 protected:
  void SetUp() override {
    Cli::SetUp();
    export_scenes(2);
    server_.emplace(HubOfFolders({{"org/eye", tests::source_dir() / "assets/emoji-scenes/captioner"},
                                  {"org/clip", tests::source_dir() / "assets/emoji-scenes/clip"},
                                  {"datasets/org/photos", path("scenes")}}));
    ::setenv("HF_ENDPOINT", server_->url().c_str(), 1);
    ::setenv("HF_HOME", path("home").c_str(), 1);
    ::unsetenv("HF_HUB_CACHE");
  }
  void TearDown() override {
    ::unsetenv("HF_ENDPOINT");
    ::unsetenv("HF_HOME");
    Cli::TearDown();
  }
  std::optional<WireServer> server_;
};

TEST_F(Pull, AModelIsFoundByItsIdAfterwards) {
  const Outcome pulled = run("pull org/eye");
  ASSERT_EQ(pulled.status, 0) << pulled.err;
  EXPECT_NE(pulled.out.find("models--org--eye/snapshots/"), std::string::npos) << pulled.out;
  server_.reset();
  const std::string picture = path("scenes/test-00000.png");
  const Outcome caption = run("caption --captioner org/eye " + picture);
  EXPECT_EQ(caption.status, 0) << caption.err;
  EXPECT_EQ(caption.out, run("caption " + picture).out);
}

TEST_F(Pull, AModelAndADataSetComeWhenTheyAreNamed) {
  const std::string command =
      "run hub:datasets/org/photos --captioner hub:org/eye --directions i2t2i --num-candidates 2 "
      "--num-inference-steps 2 --clip hub:org/clip --metrics clip-image --output " +
      path("run");
  Outcome outcome = run(command);
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.err.find("hub:org/eye: "), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("licence"), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.err.find("4 round trips"), std::string::npos) << outcome.err;
  // Without a network it is what the cache has.
  server_.reset();
  outcome = run(command + " --max-retries 0");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.err.find("in the cache"), std::string::npos) << outcome.err;
  outcome = run("caption --captioner hub:org/other --max-retries 0 " + path("scenes/test-00000.png"));
  EXPECT_EQ(outcome.status, 1) << outcome.err;
}

TEST_F(Pull, WhatIsNotThereIsSaid) {
  const Outcome outcome = run("pull org/ear");
  EXPECT_EQ(outcome.status, 1);
  EXPECT_NE(outcome.err.find("Repository not found"), std::string::npos) << outcome.err;
  EXPECT_EQ(run("pull ../ear").status, 2);
}

}  // namespace
}  // namespace readback
