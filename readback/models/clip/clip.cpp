#include "readback/models/clip/clip.h"

#include <ATen/ATen.h>

#include <cmath>

#include "readback/base/error.h"

namespace readback::models {

using nn::Init;

ClipTextConfig ClipTextConfig::read(checkpoint::ConfigReader config) {
  ClipTextConfig c;
  c.read_sizes(config);
  c.vocab_size = config.get("vocab_size", c.vocab_size);
  c.max_position_embeddings = config.get("max_position_embeddings", c.max_position_embeddings);
  c.eos_token_id = config.get("eos_token_id", c.eos_token_id);
  c.projection_dim = config.get("projection_dim", c.projection_dim);
  config.ignore(
      {"attention_dropout", "dropout", "initializer_factor", "initializer_range", "bos_token_id", "pad_token_id"});
  config.finish();
  return c;
}

ClipVisionConfig ClipVisionConfig::read(checkpoint::ConfigReader config) {
  ClipVisionConfig c;
  c.read_sizes(config);
  c.image_size = config.get("image_size", c.image_size);
  c.patch_size = config.get("patch_size", c.patch_size);
  c.projection_dim = config.get("projection_dim", c.projection_dim);
  config.expect("num_channels", {3});
  config.ignore({"attention_dropout", "dropout", "initializer_factor", "initializer_range", "tie_word_embeddings"});
  config.finish();
  return c;
}

ClipConfig ClipConfig::read(checkpoint::ConfigReader config) {
  ClipConfig c;
  c.text = ClipTextConfig::read(config.section("text_config"));
  c.vision = ClipVisionConfig::read(config.section("vision_config"));
  c.projection_dim = config.get("projection_dim", c.projection_dim);
  c.logit_scale_init_value = config.get("logit_scale_init_value", c.logit_scale_init_value);
  // Exports of transformers 4 repeat the two sections as deltas; the sections above are the full ones.
  config.ignore(
      {"initializer_factor", "initializer_range", "text_config_dict", "vision_config_dict", "tie_word_embeddings"});
  config.finish();
  return c;
}

namespace {

// The checkpoint's scope of layer i's attention is "self_attn", of its feed-forward part "mlp".
std::vector<ClipEncoderLayer> make_layers(const nn::Weights& weights, const TransformerSizes& sizes) {
  std::vector<ClipEncoderLayer> layers;
  for (int64_t i = 0; i < sizes.num_hidden_layers; ++i) layers.emplace_back(weights["encoder"]["layers"][i], sizes);
  return layers;
}

}  // namespace

// Initial scales as in the CLIP paper's code: attention width^-½ · (2 · layers)^-½, and so on.
ClipEncoderLayer::ClipEncoderLayer(const nn::Weights& weights, const TransformerSizes& sizes)
    : heads(sizes.num_attention_heads),
      layer_norm1(weights["layer_norm1"], sizes.hidden_size, sizes.layer_norm_eps),
      layer_norm2(weights["layer_norm2"], sizes.hidden_size, sizes.layer_norm_eps),
      act(nn::activation(sizes.hidden_act)) {
  const int64_t width = sizes.hidden_size, inner = sizes.intermediate_size;
  const double depth = 1.0 / std::sqrt(2.0 * static_cast<double>(sizes.num_hidden_layers));
  const double in_std = depth / std::sqrt(static_cast<double>(width));
  const double out_std = 1.0 / std::sqrt(static_cast<double>(width));
  const nn::Weights attention = weights["self_attn"];
  q_proj = nn::Linear(attention["q_proj"], width, width, true, Init::normal(in_std));
  k_proj = nn::Linear(attention["k_proj"], width, width, true, Init::normal(in_std));
  v_proj = nn::Linear(attention["v_proj"], width, width, true, Init::normal(in_std));
  out_proj = nn::Linear(attention["out_proj"], width, width, true, Init::normal(out_std));
  fc1 = nn::Linear(weights["mlp"]["fc1"], width, inner, true,
                   Init::normal(1.0 / std::sqrt(2.0 * static_cast<double>(width))));
  fc2 = nn::Linear(weights["mlp"]["fc2"], inner, width, true, Init::normal(in_std));
}

at::Tensor ClipEncoderLayer::forward(at::Tensor x, bool causal) const {
  const at::Tensor normed = layer_norm1(x);  // [B, T, C]
  const at::Tensor mixed = nn::attention(nn::split_heads(q_proj(normed), heads), nn::split_heads(k_proj(normed), heads),
                                         nn::split_heads(v_proj(normed), heads), {}, causal);  // [B, T, C]
  x = x + out_proj(mixed);
  return x + fc2(act(fc1(layer_norm2(x))));
}

ClipTextModel::ClipTextModel(const ClipTextConfig& config, const nn::Weights& root) : config(config) {
  // transformers 4 and the hub's checkpoints nest CLIPTextModel under "text_model."; transformers 5 does not.
  const bool flat = root.has("final_layer_norm.weight");
  const nn::Weights weights = flat ? root : root["text_model"];
  weights.ignore("embeddings.position_ids");
  const nn::Weights embeddings = weights["embeddings"];
  token_embedding = nn::Embedding(embeddings["token_embedding"], config.vocab_size, config.hidden_size);
  position_embedding =
      nn::Embedding(embeddings["position_embedding"], config.max_position_embeddings, config.hidden_size);
  layers = make_layers(weights, config);
  final_layer_norm = nn::LayerNorm(weights["final_layer_norm"], config.hidden_size, config.layer_norm_eps);
}

ClipOutput ClipTextModel::forward(const at::Tensor& input_ids) const {
  // eos_token_id 2 is the mark of early exports, whose end token was the largest id (transformers issue 24650).
  const at::Tensor end_positions = config.eos_token_id == 2
                                       ? input_ids.argmax(-1)
                                       : input_ids.eq(config.eos_token_id).to(at::kInt).argmax(-1);  // [B]
  return forward_embeddings(token_embedding(input_ids), end_positions);
}

ClipOutput ClipTextModel::forward_embeddings(const at::Tensor& embeddings, const at::Tensor& end_positions) const {
  const int64_t tokens = embeddings.size(1);
  if (tokens > config.max_position_embeddings) {
    throw UsageError(describe("CLIP text", "at most " + std::to_string(config.max_position_embeddings) + " tokens",
                              std::to_string(tokens)));
  }
  at::Tensor x = embeddings + position_embedding.weight.narrow(0, 0, tokens);  // [B, T, C]
  at::Tensor before = x;
  for (const ClipEncoderLayer& layer : layers) x = layer.forward(before = x, /*causal=*/true);
  x = final_layer_norm(x);
  const at::Tensor rows = at::arange(x.size(0), end_positions.options());
  return {x, x.index({rows, end_positions}), before};
}

ClipTextModelWithProjection::ClipTextModelWithProjection(const ClipTextConfig& config, const nn::Weights& weights)
    : config(config),
      text_model(config, weights),
      text_projection(weights["text_projection"], config.hidden_size, config.projection_dim, false,
                      Init::normal(1.0 / std::sqrt(static_cast<double>(config.hidden_size)))) {}

ClipVisionModel::ClipVisionModel(const ClipVisionConfig& config, const nn::Weights& weights) : config(config) {
  const nn::Weights embeddings = weights["embeddings"];
  embeddings.ignore("position_ids");
  const int64_t side = config.image_size / config.patch_size;
  class_embedding = embeddings.get("class_embedding", {config.hidden_size},
                                   Init::normal(1.0 / std::sqrt(static_cast<double>(config.hidden_size))));
  patch_embedding = nn::Conv2d(embeddings["patch_embedding"], 3, config.hidden_size, config.patch_size,
                               config.patch_size, 0, /*with_bias=*/false);
  position_embedding = nn::Embedding(embeddings["position_embedding"], side * side + 1, config.hidden_size);
  pre_layrnorm = nn::LayerNorm(weights["pre_layrnorm"], config.hidden_size, config.layer_norm_eps);
  post_layernorm = nn::LayerNorm(weights["post_layernorm"], config.hidden_size, config.layer_norm_eps);
  layers = make_layers(weights, config);
}

ClipOutput ClipVisionModel::forward(const at::Tensor& pixel_values) const {
  if (pixel_values.size(2) != config.image_size || pixel_values.size(3) != config.image_size) {
    throw UsageError(describe("CLIP vision", std::to_string(config.image_size) + " pixels square",
                              std::to_string(pixel_values.size(3)) + " × " + std::to_string(pixel_values.size(2))));
  }
  const int64_t batch = pixel_values.size(0);
  const at::Tensor patches = patch_embedding(pixel_values.to(class_embedding.scalar_type()))  // [B, C, h, w]
                                 .flatten(2)
                                 .transpose(1, 2);  // [B, h·w, C]
  at::Tensor x = at::cat({class_embedding.expand({batch, 1, -1}), patches}, 1) + position_embedding.weight;
  x = pre_layrnorm(x);
  for (const ClipEncoderLayer& layer : layers) x = layer.forward(x, /*causal=*/false);
  return {x, post_layernorm(x.select(1, 0))};
}

ClipVisionModelWithProjection::ClipVisionModelWithProjection(const ClipVisionConfig& config, const nn::Weights& weights)
    : config(config),
      vision_model(config, weights["vision_model"]),
      visual_projection(weights["visual_projection"], config.hidden_size, config.projection_dim, false,
                        Init::normal(1.0 / std::sqrt(static_cast<double>(config.hidden_size)))) {}

Clip::Clip(const ClipConfig& config, const nn::Weights& weights)
    : config(config), text_model(config.text, weights), vision_model(config.vision, weights["vision_model"]) {
  const auto scale = [](int64_t width) { return Init::normal(1.0 / std::sqrt(static_cast<double>(width))); };
  text_projection = nn::Linear(weights["text_projection"], config.text.hidden_size, config.projection_dim, false,
                               scale(config.text.hidden_size));
  visual_projection = nn::Linear(weights["visual_projection"], config.vision.hidden_size, config.projection_dim, false,
                                 scale(config.vision.hidden_size));
  logit_scale = weights.get("logit_scale", {}, {Init::Kind::kConstant, config.logit_scale_init_value});
}

at::Tensor Clip::contrastive_loss(const at::Tensor& text_embeds, const at::Tensor& image_embeds) const {
  const auto normalised = [](const at::Tensor& x) { return x / x.norm(2, {-1}, /*keepdim=*/true); };
  const at::Tensor logits = at::matmul(normalised(text_embeds), normalised(image_embeds).t()) * logit_scale.exp();
  const at::Tensor target = at::arange(logits.size(0), logits.options().dtype(at::kLong));
  return (at::cross_entropy_loss(logits, target) + at::cross_entropy_loss(logits.t(), target)) / 2;
}

}  // namespace readback::models
