// Training a model of the small world from scratch as one call.
#pragma once
#include <filesystem>
#include <tuple>

#include "readback/base/context.h"
#include "readback/base/machine.h"
#include "readback/base/options.h"
#include "readback/train/options.h"

namespace readback::workflow {

struct TrainModelOptions {
  train::TaskOptions task;
  train::TrainOptions train;
  MachineOptions machine{.dtype = "float32"};

  static constexpr auto options() {
    using O = TrainModelOptions;
    return std::tuple(nested(&O::task, "task"), nested(&O::train, "train"), nested(&O::machine, "machine"));
  }
};

// Trains into `folder`, or goes on with it, in this process alone. Errors: UsageError, CheckpointError, DataError,
// StoreError, EngineError, Interrupted: what is saved stays, and the same call goes on.
void train_model(const TrainModelOptions& options, const std::filesystem::path& folder, const Context& context = {});

}  // namespace readback::workflow
