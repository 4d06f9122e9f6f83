#include "readback/models/dino/dino.h"

#include <ATen/ATen.h>

#include <optional>

#include "readback/base/error.h"

namespace readback::models {

using nn::Init;

DinoConfig DinoConfig::read(checkpoint::ConfigReader config) {
  DinoConfig c;
  c.read_sizes(config);
  config.expect("model_type", {"vit"});
  c.image_size = config.get("image_size", c.image_size);
  c.patch_size = config.get("patch_size", c.patch_size);
  c.qkv_bias = config.get("qkv_bias", c.qkv_bias);
  config.expect("num_channels", {3});
  // The pooler and the decoder lie behind the class token that is read.
  config.ignore({"attention_probs_dropout_prob", "hidden_dropout_prob", "initializer_range", "encoder_stride",
                 "pooler_act", "pooler_output_size", "interpolate_mode"});
  config.finish();
  return c;
}

DinoLayer::DinoLayer(const nn::Weights& weights, const DinoConfig& config)
    : heads(config.num_attention_heads),
      layernorm_before(weights["layernorm_before"], config.hidden_size, config.layer_norm_eps),
      layernorm_after(weights["layernorm_after"], config.hidden_size, config.layer_norm_eps),
      act(nn::activation(config.hidden_act)) {
  const int64_t width = config.hidden_size;
  const nn::Weights attention = weights["attention"]["attention"];
  query = nn::Linear(attention["query"], width, width, config.qkv_bias);
  key = nn::Linear(attention["key"], width, width, config.qkv_bias);
  value = nn::Linear(attention["value"], width, width, config.qkv_bias);
  output = nn::Linear(weights["attention"]["output"]["dense"], width, width);
  intermediate = nn::Linear(weights["intermediate"]["dense"], width, config.intermediate_size);
  mlp_output = nn::Linear(weights["output"]["dense"], config.intermediate_size, width);
}

at::Tensor DinoLayer::forward(at::Tensor x) const {
  const at::Tensor normed = layernorm_before(x);  // [B, T, C]
  const at::Tensor mixed = nn::attention(nn::split_heads(query(normed), heads), nn::split_heads(key(normed), heads),
                                         nn::split_heads(value(normed), heads));  // [B, T, C]
  x = x + output(mixed);
  return x + mlp_output(act(intermediate(layernorm_after(x))));
}

Dino::Dino(const DinoConfig& config, const nn::Weights& root) : config(config) {
  const bool nested = root.has("vit.embeddings.cls_token");
  const nn::Weights weights = nested ? root["vit"] : root;
  for (const char* name : {"classifier.weight", "classifier.bias"}) root.ignore(name);
  for (const char* name : {"pooler.dense.weight", "pooler.dense.bias", "embeddings.mask_token"}) weights.ignore(name);
  const nn::Weights embeddings = weights["embeddings"];
  const int64_t side = config.image_size / config.patch_size;
  cls_token = embeddings.get("cls_token", {1, 1, config.hidden_size}, Init::normal(0.02));
  position_embeddings =
      embeddings.get("position_embeddings", {1, side * side + 1, config.hidden_size}, Init::normal(0.02));
  patch_embeddings = nn::Conv2d(embeddings["patch_embeddings"]["projection"], 3, config.hidden_size, config.patch_size,
                                config.patch_size);
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) layers.emplace_back(weights["encoder"]["layer"][i], config);
  layernorm = nn::LayerNorm(weights["layernorm"], config.hidden_size, config.layer_norm_eps);
}

namespace {

// [1, side² + 1, C] → [1, rows · columns + 1, C]
at::Tensor stretch(const at::Tensor& embeddings, int64_t side, int64_t rows, int64_t columns, PositionScaling scaling) {
  if (rows == side && columns == side) return embeddings;
  const auto scale = [&](int64_t patches) -> std::optional<double> {
    if (scaling == PositionScaling::kExactSize) return {};
    return (static_cast<double>(patches) + 0.1) / static_cast<double>(side);
  };
  const int64_t width = embeddings.size(2);
  const at::Tensor grid = embeddings.narrow(1, 1, side * side).reshape({1, side, side, width}).permute({0, 3, 1, 2});
  const at::Tensor stretched =
      at::upsample_bicubic2d(grid.to(at::kFloat), {rows, columns}, /*align_corners=*/false, scale(rows), scale(columns))
          .permute({0, 2, 3, 1})
          .reshape({1, rows * columns, width});
  return at::cat({embeddings.narrow(1, 0, 1), stretched.to(embeddings.scalar_type())}, 1);
}

}  // namespace

at::Tensor Dino::forward(const at::Tensor& pixel_values, PositionScaling scaling) const {
  const int64_t batch = pixel_values.size(0), patch = config.patch_size;
  const int64_t rows = pixel_values.size(2) / patch, columns = pixel_values.size(3) / patch;
  if (rows == 0 || columns == 0) {
    throw UsageError(describe("DINO", "at least " + std::to_string(patch) + " pixels a side",
                              std::to_string(pixel_values.size(3)) + " × " + std::to_string(pixel_values.size(2))));
  }
  const at::Tensor patches = patch_embeddings(pixel_values.to(cls_token.scalar_type()))  // [B, C, h, w]
                                 .flatten(2)
                                 .transpose(1, 2);  // [B, h·w, C]
  at::Tensor x = at::cat({cls_token.expand({batch, 1, -1}), patches}, 1) +
                 stretch(position_embeddings, config.image_size / patch, rows, columns, scaling);  // [B, T, C]
  for (const DinoLayer& layer : layers) x = layer.forward(x);
  return layernorm(x);
}

}  // namespace readback::models
