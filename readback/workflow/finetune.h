// Fine-tuning as one call: open models and data, train, save.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <tuple>
#include <vector>

#include "readback/base/context.h"
#include "readback/base/machine.h"
#include "readback/base/options.h"
#include "readback/base/ranks.h"
#include "readback/train/options.h"
#include "readback/train/unified_options.h"
#include "readback/workflow/learning_options.h"

namespace readback::workflow {

struct FinetuneOptions {
  train::UnifiedTaskOptions task;
  train::TrainOptions train{.learning_rate = 1e-4, .warmup = 0, .schedule = train::Schedule::kConstant};
  double captioner_learning_rate = 1e-4;
  double captioner_weight_decay = 0;
  int64_t rounds = 1;
  CollectOptions collect;
  GuardOptions guard;
  MachineOptions machine;

  static constexpr auto options() {
    using O = FinetuneOptions;
    return std::tuple(
        nested(&O::task, "task"), nested(&O::train, "train"),
        option(&O::captioner_learning_rate, "captioner_learning_rate",
               "The captioner's highest; learning_rate is the generator's", at_least(0)),
        option(&O::captioner_weight_decay, "captioner_weight_decay", "The captioner's; weight_decay is the generator's",
               at_least(0)),
        option(&O::rounds, "rounds", "losses return: of collecting with the models of the round before, and learning",
               at_least(1), Scope::kExecution),
        nested(&O::collect, "collect"), nested(&O::guard, "guard"), nested(&O::machine, "machine"));
  }
};

struct FinetuneResult {
  int64_t rounds = 1;              // that were made
  int64_t best = 1;                // the one whose models were kept; 0: none is better than the start
  std::vector<std::string> notes;  // what people should know
};

// Tunes into `folder`, or goes on with it: captioner/ and generator/ as far as they are trained, best/ and training/ as
// train::train() writes them. With losses "return" and no run to learn from it collects, learns and judges in rounds:
// see learn_from_return.h. Errors: UsageError, CheckpointError, DataError, StoreError, EngineError, RankError,
// Interrupted: what is saved stays, and the same call goes on.
FinetuneResult finetune(const FinetuneOptions& options, const std::filesystem::path& folder,
                        const Context& context = {}, const Ranks& ranks = {});

}  // namespace readback::workflow
