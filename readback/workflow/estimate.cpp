#include "readback/workflow/estimate.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "readback/base/error.h"
#include "readback/base/stopwatch.h"
#include "readback/train/return_task.h"

namespace readback::workflow {

namespace fs = std::filesystem;

std::string Estimate::sentence(int64_t rounds) const {
  const auto times = static_cast<double>(rounds);
  return fmt::format(
      "estimate: {:.2g} hours for {} round{}, of which learning {:.2g}; {} captions and {} pictures a round, {:.2g} GB",
      (collecting_seconds + learning_seconds) * times / 3600, rounds, rounds == 1 ? "" : "s",
      learning_seconds * times / 3600, captions, pictures, picture_bytes * times / 1e9);
}

nlohmann::ordered_json Estimate::to_json(int64_t rounds) const {
  return {{"rounds", rounds},
          {"collecting_seconds_a_round", collecting_seconds},
          {"learning_seconds_a_round", learning_seconds},
          {"captions_a_round", captions},
          {"pictures_a_round", pictures},
          {"bytes_a_round", picture_bytes}};
}

double seconds_of_learning(const FinetuneOptions& options, const Machine& machine, const Context& context) {
  try {
    const auto task = train::make_return_task(options.task, machine, context);
    for (const auto& [name, parameter] : task->parameters()) parameter.requires_grad_(true);
    double seconds = 0;
    for (int64_t step = 0; step < 2; ++step) {  // the second, when caches are warm and memory is there
      context.check();
      const Stopwatch clock;
      train::Metrics metrics;
      task->loss(step, metrics).backward();
      seconds = clock.seconds();
    }
    return seconds * static_cast<double>(options.train.steps * options.train.accumulation);
  } catch (const DataError& error) {
    context.progress().note(error.what());
    return 0;
  }
}

uint64_t bytes_in(const fs::path& folder) {
  uint64_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) bytes += entry.file_size();
  }
  return bytes;
}

}  // namespace readback::workflow
