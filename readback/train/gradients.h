// The gradients that make an update: of the mean loss over its batches, over all ranks.
#pragma once
#include <cstdint>

#include "readback/base/ranks.h"
#include "readback/train/task.h"

namespace readback::train {

struct GradientOptions {
  int64_t accumulation = 1;  // batches
  bool metrics = true;       // whether they are wanted this time
};

struct Gathered {
  double loss = 0;
  Metrics metrics;  // each the mean over the batches that have it; on rank 0
};

// Leaves the same gradients in task.parameters() on all ranks. A sum over ranks is fp32 whatever the parameter is.
Gathered gather_gradients(Task& task, int64_t step, const GradientOptions& options, const Ranks& ranks);

}  // namespace readback::train
