// The batches of fine-tuning, made of rows: noise and timesteps, and what frozen models make of pictures and captions.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "readback/base/ranks.h"
#include "readback/train/model_pair.h"
#include "readback/train/unified_objective.h"
#include "readback/train/unified_options.h"
#include "readback/train/unified_samples.h"

namespace readback::train {

class UnifiedBatches {
 public:
  // `pair` must outlive this. Errors: UsageError.
  UnifiedBatches(const UnifiedBatchOptions& options, const UnifiedOptions& objective, const ModelPair& pair,
                 const Ranks& ranks = {});

  TextCycleBatch text_cycle(std::vector<BatchRow>& rows);
  ImageCycleBatch image_cycle(std::vector<BatchRow>& rows);  // but for its policy

  // Their parts, for other losses. What the captioner's patches() makes of the rows' pictures, with gradients where it
  // is trained; then `pixels` gets the pictures' pieces, [N, 3, S, S].
  caption::Pictures images(std::vector<BatchRow>& rows, at::Tensor& pixels);
  // Of as many texts about each row's picture, side by side.
  CaptionBatch captions(const std::vector<BatchRow>& rows, const std::vector<std::string>& texts);
  models::UnetConditions conditions(const std::vector<std::string>& texts);  // what the UNet is told
  at::Tensor draw_latents(const Picture& picture, Random& random);           // [c, h, w], on the CPU
  int64_t draw_timestep(Random& random) const;
  at::Tensor stacked(const std::vector<at::Tensor>& rows) const;  // on the models' device

  double sum(double value) const { return ranks_.sum(value); }  // over all processes
  Share share_of(const CaptionBatch& captions) const;

 private:
  at::Tensor moments(const Picture& picture);
  at::Tensor text_states(const std::vector<std::string>& texts);  // [B, T, D]
  at::Tensor image_state(const Picture& picture);
  PictureSize size_of(const Picture& picture);
  at::Tensor changed_picture(BatchRow& row) const;
  DraftBatch draft_of(std::vector<BatchRow>& rows, const at::Tensor& latents);

  UnifiedBatchOptions options_;
  UnifiedOptions objective_;
  const ModelPair& pair_;
  Ranks ranks_;
  TensorCache cache_;
  int64_t side_;  // of the generator's pictures
  bool trains_vision_;
};

}  // namespace readback::train
