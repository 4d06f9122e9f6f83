#include "readback/score/inception_embedder.h"

#include <fmt/format.h>

#include <filesystem>

#include "readback/base/error.h"
#include "readback/base/file_digest.h"
#include "readback/checkpoint/repository.h"

namespace readback::score {

InceptionEmbedder::InceptionEmbedder(const std::string& weights, c10::Device device, InceptionMode mode)
    : name_(fmt::format("{} ({})", weights, name_of(mode))),
      extractor_(weights, device, {.mode = mode, .layers = {models::InceptionLayer::k2048}}) {}

Embeds InceptionEmbedder::embed_image_batch(std::span<const image::Image* const> images) {
  const at::Tensor features = extractor_.extract(images).at(models::InceptionLayer::k2048);
  return {features, features};
}

Embeds InceptionEmbedder::embed_text_batch(std::span<const std::string> /*texts*/) {
  throw UsageError(describe("Inception", "images", "texts", "Compare texts by CLIP or a sentence encoder"));
}

std::string InceptionEmbedder::digest(const std::string& weights) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(weights, error)) return checkpoint::Repository(weights).digest();
  return file_digest(weights);
}

}  // namespace readback::score
