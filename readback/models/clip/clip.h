// CLIP: two transformers that put an image and its text close together.
// Paper: https://arxiv.org/abs/2103.00020. Loads openai/clip-vit-*, OpenCLIP exports, and the text encoders of
// Stable Diffusion 1.x (OpenAI's) and 2.x (OpenCLIP's).
// B batch, T tokens, C width, P projection width, H × W pixels.
#pragma once
#include <ATen/core/Tensor.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "readback/checkpoint/config_reader.h"
#include "readback/models/transformer_sizes.h"
#include "readback/nn/layers.h"

namespace readback::models {

struct ClipTextConfig : TransformerSizes {
  int64_t vocab_size = 49408, max_position_embeddings = 77, eos_token_id = 49407;
  int64_t projection_dim = 512;  // of CLIPTextModelWithProjection
  ClipTextConfig() : TransformerSizes{512, 2048, 12, 8, "quick_gelu", 1e-5} {}
  static ClipTextConfig read(checkpoint::ConfigReader config);
};

struct ClipVisionConfig : TransformerSizes {
  int64_t image_size = 224, patch_size = 32;
  int64_t projection_dim = 512;  // of CLIPVisionModelWithProjection
  ClipVisionConfig() : TransformerSizes{.hidden_act = "quick_gelu", .layer_norm_eps = 1e-5} {}
  static ClipVisionConfig read(checkpoint::ConfigReader config);
};

struct ClipConfig {
  ClipTextConfig text;
  ClipVisionConfig vision;
  int64_t projection_dim = 512;
  double logit_scale_init_value = 2.6592;
  static ClipConfig read(checkpoint::ConfigReader config);
};

struct ClipEncoderLayer {
  int64_t heads = 1;
  nn::LayerNorm layer_norm1, layer_norm2;
  nn::Linear q_proj, k_proj, v_proj, out_proj, fc1, fc2;
  nn::Activation act = nullptr;
  ClipEncoderLayer(const nn::Weights& weights, const TransformerSizes& sizes);
  at::Tensor forward(at::Tensor x, bool causal) const;  // [B, T, C] → [B, T, C]
};

struct ClipOutput {
  at::Tensor last_hidden_state;  // [B, T, C], text: after the final layer norm
  at::Tensor pooler_output;      // [B, C]: text: at the end token; vision: class token after the layer norm
  at::Tensor penultimate = {};   // [B, T, C], text: what the last layer reads
};

struct ClipTextModel {
  ClipTextConfig config;
  nn::Embedding token_embedding, position_embedding;
  std::vector<ClipEncoderLayer> layers;
  nn::LayerNorm final_layer_norm;
  // `weights`: the scope of the repository or of "text_model"; both key layouts of CLIPTextModel are known.
  ClipTextModel(const ClipTextConfig& config, const nn::Weights& weights);
  ClipOutput forward(const at::Tensor& input_ids) const;  // int64 [B, T], T at most max_position_embeddings
  // From token embeddings [B, T, C] (soft prompts); end_positions int64 [B] tells where pooling reads.
  ClipOutput forward_embeddings(const at::Tensor& embeddings, const at::Tensor& end_positions) const;
};

// The text half of CLIP, whose embedding lies beside those of images: Stable Diffusion XL's second text encoder,
// Karlo's only one.
struct ClipTextModelWithProjection {
  ClipTextConfig config;
  ClipTextModel text_model;
  nn::Linear text_projection;  // of pooler_output: [B, C] → [B, P]
  ClipTextModelWithProjection(const ClipTextConfig& config, const nn::Weights& weights);
};

struct ClipVisionModel {
  ClipVisionConfig config;
  at::Tensor class_embedding;  // [C]
  nn::Conv2d patch_embedding;
  nn::Embedding position_embedding;
  nn::LayerNorm pre_layrnorm, post_layernorm;  // "layrnorm" is the checkpoint's spelling
  std::vector<ClipEncoderLayer> layers;
  ClipVisionModel(const ClipVisionConfig& config, const nn::Weights& weights);
  ClipOutput forward(const at::Tensor& pixel_values) const;  // [B, 3, image_size, image_size]
};

// The image half, whose embedding lies beside those of texts: what Karlo varies a picture by.
struct ClipVisionModelWithProjection {
  ClipVisionConfig config;
  ClipVisionModel vision_model;
  nn::Linear visual_projection;  // of pooler_output: [B, C] → [B, P]
  ClipVisionModelWithProjection(const ClipVisionConfig& config, const nn::Weights& weights);
};

struct Clip {
  ClipConfig config;
  ClipTextModel text_model;
  ClipVisionModel vision_model;
  nn::Linear text_projection, visual_projection;
  at::Tensor logit_scale;  // scalar, natural log
  Clip(const ClipConfig& config, const nn::Weights& weights);
  // Symmetric cross entropy over the batch's similarities, as CLIPModel(return_loss=True). [B, P] each, not normalised.
  at::Tensor contrastive_loss(const at::Tensor& text_embeds, const at::Tensor& image_embeds) const;
};

}  // namespace readback::models
