// The batches of unified fine-tuning: which samples, captions, noise and timesteps, and what frozen models make of
// them. Each row draws from a stream of its own, (seed, step, row), so that neither a resume nor the number of
// processes that share a batch changes what is seen.
#pragma once
#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "readback/base/ranks.h"
#include "readback/train/model_pair.h"
#include "readback/train/unified_objective.h"
#include "readback/train/unified_options.h"
#include "readback/train/unified_samples.h"

namespace readback::train {

struct BatchRow {
  DrawnSample sample;
  Random random;  // what else is drawn for it
};

class UnifiedBatches {
 public:
  // `pair` must outlive this. Errors: UsageError, DataError.
  UnifiedBatches(const UnifiedBatchOptions& options, const UnifiedOptions& objective, const ModelPair& pair,
                 const Context& context, const Ranks& ranks = {});

  // This process's rows of step `step`: of size · batch_size rows those from rank · batch_size on. Errors: DataError
  // when no picture can be read.
  std::vector<BatchRow> rows(int64_t step);
  TextCycleBatch text_cycle(std::vector<BatchRow>& rows);
  ImageCycleBatch image_cycle(std::vector<BatchRow>& rows);  // but for its policy
  image::Image picture(const BatchRow& row) const { return samples_.load(row.sample.index); }
  double sum(double value) const { return ranks_.sum(value); }  // over all processes

 private:
  bool readable(int64_t index);
  at::Tensor moments(int64_t index);
  at::Tensor image_state(int64_t index);
  at::Tensor changed_picture(BatchRow& row) const;
  at::Tensor changed_pictures(std::vector<BatchRow>& rows) const;
  at::Tensor text_states(const std::vector<std::string>& captions);
  at::Tensor draw_latents(BatchRow& row);
  int64_t draw_timestep(BatchRow& row) const;
  DraftBatch draft_of(std::vector<BatchRow>& rows, const at::Tensor& latents);
  CaptionBatch captions_of(const std::vector<BatchRow>& rows) const;
  Share share_of(const CaptionBatch& captions) const;
  at::Tensor stacked(const std::vector<at::Tensor>& rows) const;

  UnifiedBatchOptions options_;
  UnifiedOptions objective_;
  const ModelPair& pair_;
  Context context_;
  Ranks ranks_;
  UnifiedSamples samples_;
  TensorCache cache_;
  std::set<int64_t> good_, bad_;  // pictures by whether they can be read
  int64_t side_;                  // of the generator's pictures
  bool trains_vision_;
};

}  // namespace readback::train
