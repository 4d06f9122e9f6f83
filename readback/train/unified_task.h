// Unified fine-tuning as a task that the trainer drives: a captioner and a generator, and what each batch teaches them.
#pragma once
#include <memory>
#include <string>

#include "readback/train/caption_evaluation.h"
#include "readback/train/model_pair.h"
#include "readback/train/task.h"
#include "readback/train/unified_batches.h"
#include "readback/train/unified_objective.h"

namespace readback::train {

struct UnifiedTaskOptions {
  ModelPairOptions models;
  // lm: the captioner alone, by L_lm; diffusion: the generator alone, by L_diff; unified: both and the reconstruction.
  std::string losses = "unified";
  // alternate: text cycle and image cycle in turn; joint: both on the same samples in each.
  std::string order = "alternate";
  UnifiedOptions objective;
  UnifiedBatchOptions batches;
  EvaluationOptions evaluation;
  bool gradient_checkpointing = false;  // less memory for a third more time: see nn::GradientCheckpointing
};

// Its parameters and what it saves are ModelPair's. Errors: UsageError, CheckpointError, DataError.
std::unique_ptr<Task> make_unified_task(const UnifiedTaskOptions& options, const Context& context);

}  // namespace readback::train
