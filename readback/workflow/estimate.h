// What learning from what returned will cost, from a small sample of it.
#pragma once
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "readback/base/context.h"
#include "readback/base/machine.h"
#include "readback/workflow/finetune.h"

namespace readback::workflow {

struct Estimate {
  double collecting_seconds = 0, learning_seconds = 0;  // of a round
  double picture_bytes = 0;
  int64_t captions = 0, pictures = 0;

  std::string sentence(int64_t rounds) const;  // "estimate: 0.7 hours for 2 rounds, …"
  nlohmann::ordered_json to_json(int64_t rounds) const;
};

// Of all updates, by one batch; 0, with a note, where the runs that `options` name hold no lesson, as few samples may.
// Errors: as make_return_task()'s, Interrupted.
double seconds_of_learning(const FinetuneOptions& options, const Machine& machine, const Context& context);

uint64_t bytes_in(const std::filesystem::path& folder);  // of all files below it

}  // namespace readback::workflow
