#include "readback/models/smolvlm/smolvlm.h"

#include <ATen/ATen.h>

#include "readback/base/error.h"
#include "readback/nn/differentiable.h"

namespace readback::models {

namespace {

ClipVisionConfig read_vision(checkpoint::ConfigReader config) {
  ClipVisionConfig c;
  c.hidden_size = 1152;
  c.num_attention_heads = 16;
  c.hidden_act = "gelu_pytorch_tanh";
  c.layer_norm_eps = 1e-6;
  c.read_sizes(config);
  c.image_size = config.get("image_size", c.image_size);
  c.patch_size = config.get("patch_size", c.patch_size);
  config.expect("num_channels", {3});
  config.ignore(
      {"attention_dropout", "initializer_range", "max_image_size", "size", "tie_word_embeddings", "use_base_siglip"});
  config.finish();
  return c;
}

// Of patches i / n, their place among the n places that were trained. For whole pictures that is i but where rounding
// in float32 decides otherwise, as it does in transformers.
at::Tensor places(int64_t side) {
  const at::Tensor boundaries = at::arange(1.0 / static_cast<double>(side), 1.0, 1.0 / static_cast<double>(side));
  const at::Tensor step = at::scalar_tensor(1.0).div(at::scalar_tensor(side));  // float32
  const at::Tensor fractions = (at::arange(side).to(at::kFloat) * step).clamp_max(1.0 - 1e-6);
  return at::bucketize(fractions, boundaries.to(at::kFloat), /*out_int32=*/false, /*right=*/true);
}

}  // namespace

int64_t SmolVlmConfig::image_tokens() const {
  const int64_t side = vision.image_size / vision.patch_size;
  return side * side / (scale_factor * scale_factor);
}

SmolVlmConfig SmolVlmConfig::read(checkpoint::ConfigReader config) {
  SmolVlmConfig c;
  c.vision = read_vision(config.section("vision_config"));
  c.text = LlamaConfig::read(config.section("text_config"));
  c.scale_factor = config.get("scale_factor", c.scale_factor);
  c.image_token_id = config.get("image_token_id", c.image_token_id);
  c.tie_word_embeddings = config.get("tie_word_embeddings", c.tie_word_embeddings);
  config.ignore({"_pad_token_id", "image_seq_len", "vocab_size", "qk_layer_norms", "use_cache", "perceiver_config",
                 "resampler_config", "image_splitting"});
  config.finish();
  expect_positive(config, "scale_factor", c.scale_factor);
  expect_positive(config, "vision_config: patch_size", c.vision.patch_size);
  const int64_t side = c.vision.image_size / c.vision.patch_size;
  if (side % c.scale_factor != 0) {
    throw CheckpointError(describe(config.where() + ": scale_factor",
                                   "a divisor of the " + std::to_string(side) + " patches of a side",
                                   std::to_string(c.scale_factor)));
  }
  return c;
}

SmolVlmVisionModel::SmolVlmVisionModel(const ClipVisionConfig& config, const nn::Weights& weights) : config(config) {
  const int64_t side = config.image_size / config.patch_size;
  const nn::Weights embeddings = weights["embeddings"];
  patch_embedding =
      nn::Conv2d(embeddings["patch_embedding"], 3, config.hidden_size, config.patch_size, config.patch_size);
  position_embedding = nn::Embedding(embeddings["position_embedding"], side * side, config.hidden_size);
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) layers.emplace_back(weights["encoder"]["layers"][i], config);
  post_layernorm = nn::LayerNorm(weights["post_layernorm"], config.hidden_size, config.layer_norm_eps);
  const at::Tensor place = places(side);
  positions = (place.unsqueeze(1) * side + place).flatten().to(position_embedding.weight.device());
}

at::Tensor SmolVlmVisionModel::forward(const at::Tensor& pixel_values) const {
  const at::Tensor patches =
      patch_embedding(pixel_values.to(position_embedding.weight.scalar_type())).flatten(2).transpose(1, 2);
  at::Tensor x = patches + position_embedding(positions);
  for (const ClipEncoderLayer& layer : layers) {
    x = nn::checkpointed([&layer](const auto& inputs) { return layer.forward(inputs[0], /*causal=*/false); }, {x});
  }
  return post_layernorm(x);
}

SmolVlm::SmolVlm(const SmolVlmConfig& config, const nn::Weights& weights)
    : config(config),
      vision_model(config.vision, weights["model"]["vision_model"]),
      connector(weights["model"]["connector"]["modality_projection"]["proj"],
                config.vision.hidden_size * config.scale_factor * config.scale_factor, config.text.hidden_size, false),
      text(config.text, weights["model"]["text_model"]) {
  if (!config.tie_word_embeddings) {
    lm_head = nn::Linear(weights["lm_head"], config.text.hidden_size, config.text.vocab_size, false);
    return;
  }
  weights["lm_head"].ignore("weight");
  lm_head.weight = text.embed_tokens.weight;
  if (weights.is_for_inference()) lm_head.pack();
}

at::Tensor SmolVlm::image_features(const at::Tensor& pixel_values) const {
  return image_tokens(vision_model.forward(pixel_values));
}

at::Tensor SmolVlm::image_tokens(const at::Tensor& patches) const {
  const int64_t count = patches.size(0), width = patches.size(2), scale = config.scale_factor;
  const int64_t side = config.vision.image_size / config.vision.patch_size, less = side / scale;
  const at::Tensor blocks = patches.view({count, less, scale, less, scale, width})
                                .permute({0, 1, 3, 2, 4, 5})
                                .reshape({count, less * less, scale * scale * width});
  return connector(blocks);
}

at::Tensor SmolVlm::embeddings(const at::Tensor& ids, const at::Tensor& features) const {
  const at::Tensor words = text.embed_tokens(ids);
  const at::Tensor places = ids.eq(config.image_token_id);
  if (const int64_t wanted = places.sum().item<int64_t>() * words.size(2); wanted != features.numel()) {
    throw UsageError(describe("SmolVLM", std::to_string(features.numel() / words.size(2)) + " image tokens",
                              std::to_string(wanted / words.size(2))));
  }
  return words.masked_scatter(places.unsqueeze(2), features.to(words.scalar_type()));
}

at::Tensor SmolVlm::forward(const at::Tensor& pixel_values, const at::Tensor& ids) const {
  return logits(text.forward(embeddings(ids, image_features(pixel_values)), nullptr));
}

}  // namespace readback::models
