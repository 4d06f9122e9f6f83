// The loop: batches, updates, checkpoints and an exact resume.
#pragma once
#include <filesystem>
#include <string>

#include "readback/base/context.h"
#include "readback/base/ranks.h"
#include "readback/train/optimizer.h"
#include "readback/train/task.h"

namespace readback::train {

struct TrainOptions {
  int64_t steps = 1000;
  double learning_rate = 1e-3, final_learning_rate = 0.01;  // the latter as a share of the former
  int64_t warmup = 100;
  int64_t accumulation = 1;  // batches whose mean gradient makes a step
  std::string schedule = "cosine";
  AdamWOptions optimizer;
  double checkpoint_seconds = 60;  // between two saved states; one is saved at the end and on Ctrl-C too
  int64_t log_every = 20;          // steps; two in a row are logged
  int64_t evaluate_every = 0;      // steps between two evaluations; the first is before any step; 0: none
  int64_t patience = 0;            // evaluations without a new best after which training ends; 0: never
  std::string recipe;              // every resolved flag, to refuse a resume with other ones
  std::string models;              // digests of the models that training starts from, to refuse a resume with others
};

// Trains `task` into `folder`: the model as a repository, and under training/ the state to resume from
// (state.safetensors), the losses (losses.jsonl), the evaluations (evaluations.jsonl) and the options. Under best/ lies
// the model of the best evaluation. Started again it goes on where it stopped, to the
// same weights as an undisturbed run. Of several ranks, each with a share of every batch, only rank 0 reads and writes
// `folder` and evaluates. Errors: StoreError (folder in use, or begun with other options or
// models), Interrupted (on any rank), RankError.
void train(Task& task, const TrainOptions& options, const std::filesystem::path& folder, const Context& context,
           const Ranks& ranks = {});

}  // namespace readback::train
