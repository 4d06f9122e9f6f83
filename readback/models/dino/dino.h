// DINO: vision transformers whose class token tells whether two pictures show the same.
// Paper: https://arxiv.org/abs/2104.14294. Loads facebook/dino-vits16, -vits8, -vitb16 and -vitb8 (ViTModel in
// transformers), also as part of a ViTForImageClassification.
// B batch, T patches + 1, C width, H × W pixels.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "readback/checkpoint/config_reader.h"
#include "readback/models/transformer_sizes.h"
#include "readback/nn/layers.h"

namespace readback::models {

struct DinoConfig : TransformerSizes {
  int64_t image_size = 224, patch_size = 16;
  bool qkv_bias = true;
  static DinoConfig read(checkpoint::ConfigReader config);
};

// How position embeddings are stretched to pictures of another size, bicubically either way.
// kOriginal: DINO's own code, which adds 0.1 to the number of patches before it divides (facebookresearch/dino issue
// 8), so that the sampling points shift slightly. The published figures, and transformers up to 4.46, have it.
// kExactSize: transformers 5, to the exact number of patches.
enum class PositionScaling { kOriginal, kExactSize };

struct DinoLayer {
  int64_t heads;
  nn::LayerNorm layernorm_before, layernorm_after;
  nn::Linear query, key, value, output, intermediate, mlp_output;
  nn::Activation act;
  DinoLayer(const nn::Weights& weights, const DinoConfig& config);
  at::Tensor forward(at::Tensor x) const;  // [B, T, C] → [B, T, C]
};

struct Dino {
  DinoConfig config;
  at::Tensor cls_token, position_embeddings;  // [1, 1, C], [1, T, C]
  nn::Conv2d patch_embeddings;
  std::vector<DinoLayer> layers;
  nn::LayerNorm layernorm;
  Dino(const DinoConfig& config, const nn::Weights& weights);
  // [B, 3, H, W], each side at least a patch; what a patch does not fill is cut off → [B, T, C] after the last layer
  // norm; the class token is row 0. Errors: UsageError.
  at::Tensor forward(const at::Tensor& pixel_values, PositionScaling scaling = PositionScaling::kOriginal) const;
};

}  // namespace readback::models
