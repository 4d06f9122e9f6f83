// BLIP captioning: a vision transformer read by a text decoder through cross-attention.
// Paper: https://arxiv.org/abs/2201.12086. Loads Salesforce/blip-image-captioning-base and -large.
// B images, S sequences (a multiple of B: beams or candidates share an image's keys and values),
// T tokens, P patches + 1, C width, V vocabulary.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "readback/checkpoint/config_reader.h"
#include "readback/models/transformer_sizes.h"
#include "readback/nn/layers.h"

namespace readback::models {

struct BlipVisionConfig : TransformerSizes {
  int64_t image_size = 384, patch_size = 16;
  BlipVisionConfig() : TransformerSizes{.layer_norm_eps = 1e-5} {}
};

struct BlipTextConfig : TransformerSizes {
  int64_t vocab_size = 30524, encoder_hidden_size = 768, max_position_embeddings = 512;
  int64_t bos_token_id = 30522, sep_token_id = 102, pad_token_id = 0;
  double label_smoothing = 0.0;
  BlipTextConfig() : TransformerSizes{.num_attention_heads = 8} {}
};

struct BlipConfig {
  BlipVisionConfig vision;
  BlipTextConfig text;
  static BlipConfig read(checkpoint::ConfigReader config);
};

struct BlipVisionLayer {
  int64_t heads;
  nn::LayerNorm layer_norm1, layer_norm2;
  nn::Linear qkv, projection, fc1, fc2;
  nn::Activation act;
  BlipVisionLayer(const nn::Weights& weights, const BlipVisionConfig& config);
  // [B, P', C] → [B, P', C]; only the first `patches` of P' are looked at.
  at::Tensor forward(at::Tensor x, int64_t patches) const;
};

struct BlipVisionModel {
  BlipVisionConfig config;
  at::Tensor class_embedding, position_embedding;  // [1, 1, C], [1, P, C]
  nn::Conv2d patch_embedding;
  std::vector<BlipVisionLayer> layers;
  nn::LayerNorm post_layernorm;
  BlipVisionModel(const BlipVisionConfig& config, const nn::Weights& weights);
  at::Tensor forward(const at::Tensor& pixel_values) const;  // [B, 3, image_size, image_size] → [B, P, C]
};

// One layer's keys and values: of the image (fixed), and of the tokens decoded so far (grow by a step's tokens).
struct BlipLayerState {
  at::Tensor image_key, image_value;  // [B, heads, P, D]
  at::Tensor key, value;              // [S, heads, T so far, D]; undefined before the first step
};
using BlipState = std::vector<BlipLayerState>;

// Keeps these images and these sequences: int64 indices, which may repeat; undefined keeps all as they are.
void select(BlipState& state, const at::Tensor& images, const at::Tensor& sequences);

struct BlipTextLayer {
  int64_t heads;
  struct Attention {  // query, key, value; output with residual and layer norm after it (post-norm, as in BERT)
    nn::Linear query, key, value, output;
    nn::LayerNorm norm;
    Attention(const nn::Weights& weights, const BlipTextConfig& config, int64_t source_width);
  } attention, crossattention;
  nn::Linear intermediate, output;
  nn::LayerNorm norm;
  nn::Activation act;
  BlipTextLayer(const nn::Weights& weights, const BlipTextConfig& config);
  // x: [S, T, C]; appends to the state's keys and values when `cache`. mask: additive [S, 1, T, T_all], or causal.
  at::Tensor forward(const at::Tensor& x, BlipLayerState& state, const std::optional<at::Tensor>& mask,
                     bool cache) const;
};

struct BlipTextDecoder {
  BlipTextConfig config;
  nn::Embedding word_embeddings, position_embeddings;
  nn::LayerNorm embedding_norm, transform_norm;
  std::vector<BlipTextLayer> layers;
  nn::Linear transform, prediction;  // the latter's matrix is the word embedding
  nn::Activation act;
  BlipTextDecoder(const BlipTextConfig& config, const nn::Weights& weights);

  // The image's keys and values for every layer. image_embeds: [B, P, C_vision]
  BlipState prepare(const at::Tensor& image_embeds) const;
  // Hidden states of `input_ids` int64 [S, T] that continue `state` (whose tokens are all attended to).
  // attention_mask: int64 [S, T], 0 at padding, only with an empty state.
  at::Tensor hidden_states(const at::Tensor& input_ids, BlipState& state, bool cache,
                           const at::Tensor& attention_mask = {}) const;  // [S, T, C]
  at::Tensor logits(const at::Tensor& hidden) const;                      // [..., C] → [..., V]
};

struct Blip {
  BlipConfig config;
  BlipVisionModel vision_model;
  BlipTextDecoder text_decoder;
  Blip(const BlipConfig& config, const nn::Weights& weights);
  // Teacher-forced logits [B, T, V] for whole captions. attention_mask may be undefined.
  at::Tensor forward(const at::Tensor& pixel_values, const at::Tensor& input_ids,
                     const at::Tensor& attention_mask) const;
  // Mean next-token cross entropy; labels int64 [B, T], -100 is ignored; with the configuration's label smoothing.
  at::Tensor loss(const at::Tensor& logits, const at::Tensor& labels) const;
};

}  // namespace readback::models
