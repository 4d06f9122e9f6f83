// Vectors by a CLIP repository.
#pragma once
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <memory>

#include "readback/checkpoint/repository.h"
#include "readback/image/preprocess.h"
#include "readback/models/clip/clip.h"
#include "readback/score/embedder.h"
#include "readback/text/tokenizer.h"

namespace readback::score {

class ClipEmbedder final : public ImageTextEmbedder {
 public:
  // Errors: CheckpointError, also when the repository holds another architecture.
  ClipEmbedder(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype);

  std::string name() const override { return name_; }
  int64_t truncated() const override { return truncated_; }

 private:
  Embeds embed_image_batch(std::span<const image::Image* const> images) override;
  // Texts longer than the model's positions are cut so that the end token stays; truncated() counts the tokens lost.
  Embeds embed_text_batch(std::span<const std::string> texts) override;
  int64_t batch_size() const override { return 32; }

  std::string name_;
  c10::Device device_;
  image::PreprocessOptions preprocessing_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  std::unique_ptr<models::Clip> clip_;
  int64_t begin_id_ = 0, end_id_ = 0, truncated_ = 0;
};

}  // namespace readback::score
