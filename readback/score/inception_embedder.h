// Inception's features as vectors of single images: the "FID-feature" distance of the paper.
#pragma once
#include <c10/core/Device.h>

#include <string>

#include "readback/score/embedder.h"
#include "readback/score/image/inception_extractor.h"

namespace readback::score {

class InceptionEmbedder final : public ImageTextEmbedder {
 public:
  // `weights`: as models::load_inception_tensors. Errors: CheckpointError.
  InceptionEmbedder(const std::string& weights, c10::Device device, InceptionMode mode = InceptionMode::kTorchFidelity);

  std::string name() const override { return name_; }
  // Of a file (base/file_digest.h) or a repository. Errors: CheckpointError, DataError.
  static std::string digest(const std::string& weights);

 private:
  // The 2,048 features before the last layer; `projected` and `pooled` are the same.
  Embeds embed_image_batch(std::span<const image::Image* const> images) override;
  Embeds embed_text_batch(std::span<const std::string> texts) override;  // Errors: UsageError, always
  int64_t batch_size() const override { return extractor_.options().batch_size; }

  std::string name_;
  InceptionExtractor extractor_;
};

}  // namespace readback::score
