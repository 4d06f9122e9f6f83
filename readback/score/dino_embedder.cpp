#include "readback/score/dino_embedder.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <vector>

#include "readback/base/error.h"

namespace readback::score {

DinoEmbedder::DinoEmbedder(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype,
                           const DinoOptions& options)
    : name_(repository.name()),
      device_(device),
      scaling_(options.scaling),
      preprocessing_(image::read_preprocess_options(repository)) {
  const models::DinoConfig config =
      models::DinoConfig::read({repository.json(), repository.path().string() + "/config.json"});
  if (options.side) {
    if (*options.side < config.patch_size) {
      throw UsageError(describe("DINO's picture size", "at least a patch of " + std::to_string(config.patch_size),
                                std::to_string(*options.side)));
    }
    preprocessing_.do_resize = true;
    preprocessing_.do_center_crop = false;
    preprocessing_.shortest_edge = std::nullopt;
    preprocessing_.height = preprocessing_.width = *options.side;
  }
  const nn::Weights weights =
      nn::Weights(repository.tensors(), device, dtype, repository.path().string()).for_inference();
  dino_ = std::make_unique<models::Dino>(config, weights);
  weights.finish();
}

Embeds DinoEmbedder::embed_image_batch(std::span<const image::Image* const> images) {
  constexpr int64_t kTokens = 4096;  // at a time: where a batch starts to keep all cores busy
  c10::NoGradGuard no_grad;
  std::vector<at::Tensor> parts, pixels;
  const auto flush = [&] {
    const at::Tensor hidden = dino_->forward(at::stack(pixels).to(device_), scaling_);  // [B, T, C]
    parts.push_back(hidden.select(1, 0).to(at::kFloat).cpu());
    pixels.clear();
  };
  for (const image::Image* image : images) {
    const at::Tensor next = image::preprocess(*image, preprocessing_);
    const int64_t patch = dino_->config.patch_size, tokens = next[0].numel() / (patch * patch);
    const auto batch = static_cast<int64_t>(pixels.size());
    if (batch > 0 && (pixels.front().sizes() != next.sizes() || (batch + 1) * tokens > kTokens)) flush();
    pixels.push_back(next);
  }
  if (!pixels.empty()) flush();
  const at::Tensor rows = parts.empty() ? at::empty({0, dino_->config.hidden_size}) : at::cat(parts);
  return {rows, rows};
}

Embeds DinoEmbedder::embed_text_batch(std::span<const std::string> /*texts*/) {
  throw UsageError(describe("DINO", "images", "texts", "Compare texts by CLIP or a sentence encoder"));
}

}  // namespace readback::score
