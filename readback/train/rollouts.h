// Captions that the captioner in training samples, and what they are worth: how well the generator, reading them,
// denoises the image's latents, and how close CLIP puts them to the image. What is sampled depends on (seed, step,
// row).
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "readback/score/embedder.h"
#include "readback/train/model_pair.h"
#include "readback/train/policy_gradient.h"
#include "readback/train/task.h"
#include "readback/train/unified_batches.h"

namespace readback::train {

class Rollouts {
 public:
  // `pair` and `batches` must outlive this. Errors: UsageError, CheckpointError.
  Rollouts(const PolicyOptions& options, const ModelPair& pair, const UnifiedBatches& batches);

  // Of the images of `batch`, whose rows are `rows`. `metrics` gets the mean reward, its parts and the deviation of
  // advantages before they are scaled.
  PolicyBatch draw(const ImageCycleBatch& batch, std::vector<BatchRow>& rows, Metrics& metrics);

 private:
  struct Sampled {
    CaptionBatch captions;
    std::vector<std::string> texts;
  };
  Sampled sample(const ImageCycleBatch& batch, std::vector<BatchRow>& rows) const;
  at::Tensor errors(const ImageCycleBatch& batch, std::vector<BatchRow>& rows,
                    const std::vector<std::string>& texts) const;
  at::Tensor cosines(const std::vector<BatchRow>& rows, const std::vector<std::string>& texts);

  PolicyOptions options_;
  const ModelPair& pair_;
  const UnifiedBatches& batches_;
  std::unique_ptr<score::EmbeddingCache> clip_;
};

}  // namespace readback::train
