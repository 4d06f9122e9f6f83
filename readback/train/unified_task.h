// Unified fine-tuning as a task that the trainer drives: a captioner and a generator, and what each batch teaches them.
#pragma once
#include <memory>

#include "readback/base/machine.h"
#include "readback/base/ranks.h"
#include "readback/train/caption_evaluation.h"
#include "readback/train/model_pair.h"
#include "readback/train/task.h"
#include "readback/train/unified_batches.h"
#include "readback/train/unified_objective.h"
#include "readback/train/unified_options.h"

namespace readback::train {

// Its parameters and what it saves are ModelPair's. Errors: UsageError, CheckpointError, DataError.
std::unique_ptr<Task> make_unified_task(const UnifiedTaskOptions& options, const Machine& machine,
                                        const Context& context, const Ranks& ranks = {});

}  // namespace readback::train
