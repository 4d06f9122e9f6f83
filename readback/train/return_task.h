// Learning from what returned as a task that the trainer drives: candidates that a captioner and a generator made,
// ranked by how well they came back, teach either or both.
#pragma once
#include <memory>

#include "readback/base/machine.h"
#include "readback/base/ranks.h"
#include "readback/train/task.h"
#include "readback/train/unified_options.h"

namespace readback::train {

// Learns from the runs that options.returned names. Its parameters and what it saves are ModelPair's.
// options.batches.samples.dataset may be empty: then there are no clean pairs.
// Errors: UsageError, CheckpointError, DataError, StoreError.
std::unique_ptr<Task> make_return_task(const UnifiedTaskOptions& options, const Machine& machine,
                                       const Context& context, const Ranks& ranks = {});

}  // namespace readback::train
