// Unified fine-tuning of the tiny models in tests/goldens.
#pragma once
#include <ATen/Parallel.h>

#include <filesystem>
#include <string>

#include "readback/train/trainer.h"
#include "readback/train/unified_task.h"
#include "tests/source_dir.h"

namespace readback::train {

inline const std::string kGoldens = tests::source_dir().string() + "/tests/goldens/";

inline UnifiedTaskOptions task_options() {
  UnifiedTaskOptions options;
  options.models.captioner = kGoldens + "caption/blip";
  options.models.generator = kGoldens + "generate/pipeline";
  options.models.minimum_coverage = 0;
  options.batches.batch_size = 2;
  options.batches.draws = 2;
  options.batches.degradation = 0.5;
  options.batches.unconditional = 0.2;
  options.batches.samples.dataset = "emoji-scenes";
  options.batches.samples.count = 6;
  options.evaluation.dataset = "emoji-scenes";
  options.evaluation.samples = 4;
  options.batches.seed = 3;
  return options;
}

inline TrainOptions train_options() {
  TrainOptions options;
  options.steps = 8;
  options.accumulation = 2;
  options.warmup = 2;
  options.log_every = 1;
  options.evaluate_every = 3;
  options.optimizer.ema_decay = 0.9;
  options.checkpoint_seconds = 0.02;
  return options;
}

inline void run(const std::filesystem::path& folder, const UnifiedTaskOptions& task = task_options(),
                const Machine& machine = {}) {
  at::set_num_threads(1);
  train(*make_unified_task(task, machine, {}), train_options(), {}, folder, {}, {},
        {{.prefix = "captioner.", .learning_rate = 0.5, .weight_decay = 0}});
}

}  // namespace readback::train
