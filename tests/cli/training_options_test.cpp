// Every declared option of `train` and `finetune`, in turn.
#include <algorithm>

#include "program.h"
#include "readback/base/options_json.h"
#include "readback/workflow/finetune.h"
#include "readback/workflow/train_model.h"
#include "tests/change_options.h"

namespace readback {
namespace {

class TrainingOptions : public Cli {
 protected:
  // How many there are.
  template <typename Options>
  int expect_declared_everywhere(const std::string& verb) {
    tests::expect_declared<Options>([](const Options& options) { return options_identity(options); });
    const std::string help = run(verb + " --help").out;
    int count = 0;
    const Options base;
    for_each_option(base, [&](const auto& option, const auto&, const std::string& path, std::string name) {
      if (option.scope == Scope::kCall) return;  // set by the training itself
      std::replace(name.begin(), name.end(), '_', '-');
      const bool in_help = std::ranges::any_of(
          std::string(" ,\n="), [&](char end) { return help.find("--" + name + end) != std::string::npos; });
      EXPECT_TRUE(in_help) << path << ": --" << name;
      ++count;
    });
    return count;
  }
};

TEST_F(TrainingOptions, OfFinetuneChangeJsonIdentityAndHelp) {
  EXPECT_GT(expect_declared_everywhere<workflow::FinetuneOptions>("finetune"), 70);
}

TEST_F(TrainingOptions, OfTrainChangeJsonIdentityAndHelp) {
  EXPECT_GT(expect_declared_everywhere<workflow::TrainModelOptions>("train"), 30);
}

TEST_F(TrainingOptions, WrongValuesAreUsageErrors) {
  const std::string command = "finetune --captioner a --generator b --dataset c --output " + path("tuned") + " ";
  const auto error_of = [&](const std::string& flags) {
    const Outcome outcome = run(command + flags);
    EXPECT_EQ(outcome.status, 2) << flags << ": " << outcome.err;
    return outcome.err;
  };
  EXPECT_NE(error_of("--train-captioner lora:xattn").find("lora:xattn_q"), std::string::npos);
  EXPECT_NE(error_of("--schedule linear").find("constant"), std::string::npos);
  EXPECT_NE(error_of("--ema-decay 1").find("0 or more, below 1"), std::string::npos);
  EXPECT_NE(error_of("--learning-rate 0").find("more than 0"), std::string::npos);
  EXPECT_NE(error_of("--captioner-learning-rate inf").find("0 or more"), std::string::npos);
}

}  // namespace
}  // namespace readback
