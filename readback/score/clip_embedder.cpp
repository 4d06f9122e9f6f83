#include "readback/score/clip_embedder.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "readback/base/error.h"

namespace readback::score {

namespace {

Embeds project(const nn::Linear& projection, const at::Tensor& pooled) {
  return {projection(pooled).to(at::kFloat).cpu(), pooled.to(at::kFloat).cpu()};
}

}  // namespace

ClipEmbedder::ClipEmbedder(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype)
    : name_(repository.name()), device_(device) {
  const nlohmann::json config = repository.json();
  if (const std::string type = config.value("model_type", "none"); type != "clip") {
    throw CheckpointError(describe(repository.path().string() + "/config.json", "model_type clip", type));
  }
  preprocessing_ = image::read_preprocess_options(repository);
  tokenizer_ = text::load_clip_tokenizer(repository.path());
  begin_id_ = tokenizer_->id("<|startoftext|>");
  end_id_ = tokenizer_->id("<|endoftext|>");
  const nn::Weights weights =
      nn::Weights(repository.tensors(), device, dtype, repository.path().string()).for_inference();
  clip_ = std::make_unique<models::Clip>(
      models::ClipConfig::read({config, repository.path().string() + "/config.json"}), weights);
  weights.finish();
}

Embeds ClipEmbedder::embed_image_batch(std::span<const image::Image* const> images) {
  c10::NoGradGuard no_grad;
  std::vector<at::Tensor> pixels;
  for (const image::Image* image : images) pixels.push_back(image::preprocess(*image, preprocessing_));
  return project(clip_->visual_projection, clip_->vision_model.forward(at::stack(pixels).to(device_)).pooler_output);
}

Embeds ClipEmbedder::embed_text_batch(std::span<const std::string> texts) {
  c10::NoGradGuard no_grad;
  const int64_t limit = clip_->config.text.max_position_embeddings;
  std::vector<std::vector<int64_t>> encoded;
  int64_t length = 2, truncated = 0;
  for (const std::string& text : texts) {
    encoded.push_back(tokenizer_->encode(text));
    length = std::max(length, std::min(limit, static_cast<int64_t>(encoded.back().size()) + 2));
  }
  at::Tensor ids = at::empty({static_cast<int64_t>(encoded.size()), length}, at::kLong);
  int64_t* out = ids.data_ptr<int64_t>();
  for (const std::vector<int64_t>& text : encoded) {
    // Pooling reads the first end token and the mask is causal, so what pads does not matter.
    const text::Padded padded = text::pad(text, begin_id_, end_id_, end_id_, length);
    truncated += padded.truncated;
    out = std::copy(padded.ids.begin(), padded.ids.end(), out);
  }
  Embeds embeds = project(clip_->text_projection, clip_->text_model.forward(ids.to(device_)).pooler_output);
  truncated_ += truncated;
  return embeds;
}

}  // namespace readback::score
