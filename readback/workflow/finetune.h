// Unified fine-tuning as one call: open models and data, train, save.
#pragma once
#include <filesystem>
#include <tuple>

#include "readback/base/context.h"
#include "readback/base/machine.h"
#include "readback/base/options.h"
#include "readback/base/ranks.h"
#include "readback/train/options.h"
#include "readback/train/unified_options.h"

namespace readback::workflow {

struct FinetuneOptions {
  train::UnifiedTaskOptions task;
  train::TrainOptions train{.learning_rate = 1e-4, .warmup = 0, .schedule = train::Schedule::kConstant};
  double captioner_learning_rate = 1e-4;
  double captioner_weight_decay = 0;
  MachineOptions machine;

  static constexpr auto options() {
    using O = FinetuneOptions;
    return std::tuple(nested(&O::task, "task"), nested(&O::train, "train"),
                      option(&O::captioner_learning_rate, "captioner_learning_rate",
                             "The captioner's highest; learning_rate is the generator's", at_least(0)),
                      option(&O::captioner_weight_decay, "captioner_weight_decay",
                             "The captioner's; weight_decay is the generator's", at_least(0)),
                      nested(&O::machine, "machine"));
  }
};

// Tunes into `folder`, or goes on with it: captioner/ and generator/ as far as they are trained, best/ and training/ as
// train::train() writes them. Errors: UsageError, CheckpointError, DataError, StoreError, EngineError, RankError,
// Interrupted: what is saved stays, and the same call goes on.
void finetune(const FinetuneOptions& options, const std::filesystem::path& folder, const Context& context = {},
              const Ranks& ranks = {});

}  // namespace readback::workflow
