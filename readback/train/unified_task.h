// Unified fine-tuning as a task that the trainer drives: a captioner and a generator, and what each batch teaches them.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "readback/caption/captioner.h"
#include "readback/train/task.h"
#include "readback/train/unified_objective.h"
#include "readback/train/unified_samples.h"

namespace readback::train {

// Captions for samples that are not trained on, and what they are worth: the sum of metrics, each its mean over the
// samples. The paper's choice is CIDEr + BLEU-4.
struct EvaluationOptions {
  SampleOptions samples{.split = "validation", .count = 200};
  std::vector<std::string> metrics = {"cider", "bleu-4"};  // of the registry, by references or truth
  caption::DecodingOptions decoding;
};

struct UnifiedTaskOptions {
  std::string captioner, generator;  // repositories: BLIP, Stable Diffusion
  // lm: the captioner alone, by L_lm; diffusion: the generator alone, by L_diff; unified: both and the reconstruction.
  std::string losses = "unified";
  // alternate: even and odd micro-steps in turn; joint: both on the same samples in each.
  std::string order = "alternate";
  std::string train_captioner = "xattn_q", train_generator = "xattn_q";  // as select_parameters takes them
  UnifiedOptions objective;
  double label_smoothing = -1;  // of L_lm; below 0: the captioner's configuration, for kPaper 0.1
  std::string vocabulary_map;   // a reindex.pth; empty: build_bridge()
  double minimum_coverage = 0.1;
  int64_t draws = 1;  // (t, ε) for each text on odd steps
  int64_t batch_size = 8;
  int64_t resolution = 0;      // side of the generator's pictures in pixels; 0: the UNet's
  double unconditional = 0.0;  // even steps: share of captions replaced by the empty one, for guidance
  double degradation = 0.0;    // odd steps: share of pictures with noise or blur
  SampleOptions samples;
  EvaluationOptions evaluation;
  int64_t cache_bytes = int64_t{2} << 30;
  uint64_t seed = 0;
  c10::Device device = c10::kCPU;
  c10::ScalarType dtype = c10::kFloat;
};

// Parameters are "captioner.KEY" and "unet.KEY"; save() writes whole repositories into captioner/ and generator/, each
// tensor in the type that the starting checkpoint has. Errors: UsageError, CheckpointError, DataError.
std::unique_ptr<Task> make_unified_task(const UnifiedTaskOptions& options, Progress& progress);

}  // namespace readback::train
