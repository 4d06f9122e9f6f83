// The program as scripts see it: output, exit status, and what it says about bad input.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "program.h"
#include "readback/base/files.h"

namespace readback {
namespace {

namespace fs = std::filesystem;

nlohmann::json first_line(const std::string& text) { return nlohmann::json::parse(text.substr(0, text.find('\n'))); }

TEST_F(Cli, EveryVerbHasHelpWithExamples) {
  for (const char* verb : {"demo", "caption", "generate", "embed", "run", "report", "compare", "score", "dataset",
                           "train", "finetune", "describe", "doctor"}) {
    const Outcome result = run(std::string(verb) + " --help");
    EXPECT_EQ(result.status, 0) << verb;
    EXPECT_NE(result.out.find("Examples:"), std::string::npos) << verb;
  }
}

TEST_F(Cli, UsageErrorsExitWithTwo) {
  EXPECT_EQ(run("").status, 2);
  EXPECT_EQ(run("caption --no-such-flag x.png").status, 2);
  EXPECT_EQ(run("caption --device tpu " + path("x.png")).status, 2);
  EXPECT_EQ(run("run emoji-scenes --directions sideways --output " + path("run")).status, 2);
  const Outcome result = run("dataset describe no-such-data-set");
  EXPECT_EQ(result.status, 2);
  EXPECT_NE(result.err.find("no-such-data-set"), std::string::npos) << result.err;
}

TEST_F(Cli, RecipesAreFlagsThatTheCommandLineOverrides) {
  export_scenes(1);
  std::ofstream(path("recipe.toml")) << "num-beams = 2\nformat = \"jsonl\"\ndtype = \"float32\"\n";
  const Outcome result = run("caption " + path("scenes/test-00000.png") + " --recipe " + path("recipe.toml"));
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(first_line(result.out)["captions"].size(), 1u);
  EXPECT_EQ(
      run("caption " + path("scenes/test-00000.png") + " --format text --recipe " + path("recipe.toml")).out.front(),
      '/');
  // A list at a recipe's end does not swallow what stands behind the verb.
  std::ofstream(path("recipe.toml"))
      << "num-inference-steps = 1\nnum-candidates = 1\nlimit = 1\nmetrics = [\"psnr\"]\n";
  const Outcome list = run("run emoji-scenes --recipe " + path("recipe.toml") + " --output " + path("run"));
  EXPECT_EQ(list.status, 0) << list.err;
  std::ofstream(path("recipe.toml")) << "num-beems = 2\n";
  const Outcome unknown = run("caption " + path("scenes/test-00000.png") + " --recipe " + path("recipe.toml"));
  EXPECT_EQ(unknown.status, 2);
  EXPECT_NE(unknown.err.find("num-beems"), std::string::npos) << unknown.err;
}

// A recipe anywhere among the flags; the same command goes on, and other options are refused by name.
TEST_F(Cli, FinetuningGoesOnWithItsOptionsOnly) {
  std::ofstream(path("tiny.toml")) << "captioner = \"emoji-scenes/captioner\"\ngenerator = \"emoji-scenes/generator\"\n"
                                   << "dataset = \"emoji-scenes\"\nsamples = 4\nsteps = 2\nbatch-size = 1\n"
                                   << "losses = \"lm\"\nevaluate-metrics = [\"cider\", \"bleu-4\"]\n";
  const std::string command = "finetune --output " + path("tuned") + " " + path("tiny.toml");
  const Outcome first = run(command);
  ASSERT_EQ(first.status, 0) << first.err;
  EXPECT_TRUE(fs::exists(path("tuned/captioner/model.safetensors")));
  const Outcome again = run(command);
  EXPECT_EQ(again.status, 0) << again.err;
  EXPECT_NE(again.err.find("resuming at step 2 of 2"), std::string::npos) << again.err;
  const Outcome other = run(command + " --evaluate-metrics cider,rouge-l");
  EXPECT_EQ(other.status, 1);
  EXPECT_NE(other.err.find("task.evaluation.metrics.1 = \"bleu-4\", got task.evaluation.metrics.1 = \"rouge-l\""),
            std::string::npos)
      << other.err;
  std::filesystem::create_directories(path("pictures"));
  EXPECT_EQ(run(command + "2 --evaluate-every 1 --dataset " + path("pictures")).status, 2);
}

TEST_F(Cli, ABadImageAmongGoodOnesIsSaidAndTheRestIsCaptioned) {
  export_scenes(2);
  std::ofstream(path("broken.png")) << "not a picture";
  const Outcome result = run("caption --format jsonl " + path("scenes/test-00000.png") + " " + path("broken.png") +
                             " " + path("missing.png") + " " + path("scenes/test-00001.png"));
  EXPECT_EQ(result.status, 1);
  EXPECT_EQ(std::count(result.out.begin(), result.out.end(), '\n'), 4);
  EXPECT_NE(result.out.find("\"captions\""), std::string::npos);
  EXPECT_NE(result.out.find("\"error\""), std::string::npos);
  EXPECT_NE(result.err.find("broken.png"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("2 of 4 images"), std::string::npos) << result.err;
}

TEST_F(Cli, OtherRepositoriesAreRefusedWithTheReason) {
  export_scenes(1);
  const std::string image = path("scenes/test-00000.png");
  const Outcome other = run("caption --captioner emoji-scenes/clip " + image);
  EXPECT_EQ(other.status, 1);
  EXPECT_NE(other.err.find("clip"), std::string::npos) << other.err;
  EXPECT_EQ(run("generate --generator emoji-scenes/captioner --prompt x --output " + path("out")).status, 1);
  const Outcome nothing = run("embed --model " + path("nothing") + " --texts x --output " + path("x.safetensors"));
  EXPECT_EQ(nothing.status, 1);
  EXPECT_NE(nothing.err.find("nothing"), std::string::npos) << nothing.err;
}

TEST_F(Cli, GeneratedPicturesAreNamedAndLongPromptsAreSaidToBeCut) {
  std::string prompt = "a fox on a blue background";
  for (int i = 0; i < 100; ++i) prompt += " and";
  const Outcome result = run("generate --prompt '" + prompt +
                             "' --num-images 2 --num-inference-steps 2 --format jsonl --output " + path("pictures"));
  ASSERT_EQ(result.status, 0) << result.err;
  const nlohmann::json line = first_line(result.out);
  EXPECT_EQ(line["candidate"], 0);
  EXPECT_TRUE(fs::exists(line["file"].get<std::string>()));
  EXPECT_GT(line["truncated_tokens"].get<int64_t>(), 70);
  EXPECT_NE(result.err.find("cut"), std::string::npos) << result.err;
}

TEST_F(Cli, EmptyDataSetsAreErrors) {
  fs::create_directories(path("empty"));
  const Outcome result = run("run " + path("empty") + " --output " + path("run"));
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("empty"), std::string::npos) << result.err;
}

TEST_F(Cli, CtrlCStopsARunThatTheSameCommandFinishesAndASecondProcessIsRefused) {
  const std::string arguments =
      "run emoji-scenes --limit 6 --num-candidates 4 --num-inference-steps 15 --batch-size 2 --output " + path("run");
  const pid_t child = ::fork();
  if (child == 0) {
    ::freopen("/dev/null", "w", stderr);
    ::freopen("/dev/null", "w", stdout);
    ::execl("/bin/sh", "sh", "-c", ("exec " READBACK_PROGRAM " " + arguments).c_str(), nullptr);
    ::_exit(127);
  }
  while (!fs::exists(folder_ / "run/run.sqlite")) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const Outcome second = run(arguments);
  EXPECT_EQ(second.status, 1);
  EXPECT_NE(second.err.find("nobody is writing"), std::string::npos) << second.err;
  ::kill(child, SIGINT);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 130);

  const Outcome finished = run(arguments);
  EXPECT_EQ(finished.status, 0) << finished.err;
  EXPECT_TRUE(fs::exists(folder_ / "run/results.json"));
  const Outcome report = run("report " + path("run"));
  EXPECT_EQ(report.status, 0) << report.err;
  EXPECT_NE(read_file(folder_ / "run/report.html").find("</html>"), std::string::npos);
  const Outcome other = run(arguments + " --seed 1");
  EXPECT_EQ(other.status, 1);
  EXPECT_NE(other.err.find("seed"), std::string::npos) << other.err;
}

}  // namespace
}  // namespace readback
