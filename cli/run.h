// What `readback run` and `readback demo` share: from options to a finished, measured run folder.
#pragma once
#include "models.h"
#include "readback/roundtrip/execute.h"

namespace readback::cli {

struct RunFlags {
  Machine machine;
  roundtrip::RunOptions options;
  MetricFlags checkpoints{.clip = "emoji-scenes/clip"};
  std::string output;
};

// Runs (or goes on with) the run in flags.output and measures it. Prints a summary to standard error. Of several ranks
// this is what rank 0 does; the others lend their models.
roundtrip::Store run_roundtrip(RunFlags& flags, const Ranks& ranks = {});

}  // namespace readback::cli
