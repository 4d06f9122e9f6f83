// Vectors of images by a DINO repository.
#pragma once
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <memory>
#include <optional>

#include "readback/checkpoint/repository.h"
#include "readback/image/preprocess.h"
#include "readback/models/dino/dino.h"
#include "readback/score/embedder.h"

namespace readback::score {

struct DinoOptions {
  // Pictures are squeezed to this many pixels square instead of what preprocessor_config.json says (384 in the paper,
  // with ViT-B/8); position embeddings are stretched to it.
  std::optional<int64_t> side;
  models::PositionScaling scaling = models::PositionScaling::kOriginal;
};

class DinoEmbedder final : public ImageTextEmbedder {
 public:
  // Errors: CheckpointError, also when the repository holds another architecture; UsageError for a side below a patch.
  DinoEmbedder(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype,
               const DinoOptions& options = {});

  std::string name() const override { return name_; }

 private:
  // The class token after the last layer norm; `projected` and `pooled` are the same.
  Embeds embed_image_batch(std::span<const image::Image* const> images) override;
  Embeds embed_text_batch(std::span<const std::string> texts) override;  // Errors: UsageError, always

  std::string name_;
  c10::Device device_;
  models::PositionScaling scaling_;
  image::PreprocessOptions preprocessing_;
  std::unique_ptr<models::Dino> dino_;
};

}  // namespace readback::score
