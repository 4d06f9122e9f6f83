// The loop: batches, updates, checkpoints and an exact resume.
#pragma once
#include <filesystem>
#include <vector>

#include "readback/base/context.h"
#include "readback/base/machine.h"
#include "readback/base/ranks.h"
#include "readback/train/optimizer.h"
#include "readback/train/options.h"
#include "readback/train/task.h"
#include "readback/train/training_identity.h"

namespace readback::train {

// Trains `task` into `folder`: the model as a repository, and under training/ the state to resume from
// (state.safetensors), the losses (losses.jsonl), the evaluations (evaluations.jsonl) and the identity (identity.json).
// Under best/ lies the model of the best evaluation. Started again it goes on where it stopped, to the same weights as
// an undisturbed run. Of several ranks, each with a share of every batch, only rank 0 reads and writes `folder` and
// evaluates. `groups`: parameters with rates and decays of their own.
// Errors: UsageError, StoreError (folder in use, or begun with another identity), Interrupted (on any rank), RankError.
void train(Task& task, const TrainOptions& options, const TrainingIdentity& identity,
           const std::filesystem::path& folder, const Context& context, const Ranks& ranks = {},
           const std::vector<ParameterGroup>& groups = {});

}  // namespace readback::train
