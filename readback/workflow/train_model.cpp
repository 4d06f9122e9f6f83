#include "readback/workflow/train_model.h"

#include <nlohmann/json.hpp>

#include "readback/base/options_json.h"
#include "readback/train/task.h"
#include "readback/train/trainer.h"

namespace readback::workflow {

void train_model(const TrainModelOptions& options, const std::filesystem::path& folder, const Context& context) {
  check_options(options);
  const Machine machine = open_machine(options.machine);
  const auto task = train::make_task(options.task, machine, context);
  train::train(*task, options.train,
               train::TrainingIdentity::of(options_identity(options), options_identity(TrainModelOptions()), machine),
               folder, context);
}

}  // namespace readback::workflow
