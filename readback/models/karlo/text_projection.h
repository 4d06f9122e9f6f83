// UnCLIPTextProjModel: what Karlo's decoder reads of a text and of an image's embedding. Loads the `text_proj` folder.
// B batch, T text tokens, E width of CLIP's embeddings, D width of what the decoder's attention reads.
#pragma once
#include <ATen/core/Tensor.h>

#include "readback/checkpoint/config_reader.h"
#include "readback/nn/layers.h"

namespace readback::models {

struct TextProjectionConfig {
  int64_t clip_extra_context_tokens = 4, clip_embeddings_dim = 768;
  int64_t time_embed_dim = 0, cross_attention_dim = 0;  // the decoder's, which have no default
  static TextProjectionConfig read(checkpoint::ConfigReader config);
};

struct DecoderConditions {
  at::Tensor states;  // [B, extra + T, D]: the image's tokens, then the text's
  at::Tensor time;    // [B, time_embed_dim], added to the timestep's embedding
};

struct TextProjection {
  TextProjectionConfig config;
  at::Tensor learned_classifier_free_guidance_embeddings;  // [E]: the embedding of no image
  nn::Linear embedding_proj, clip_image_embeddings_project_to_time_embeddings;
  nn::Linear clip_extra_context_tokens_proj, encoder_hidden_states_proj;
  nn::LayerNorm text_encoder_hidden_states_norm;
  TextProjection(const TextProjectionConfig& config, const nn::Weights& weights);
  // Embeddings of images and texts [B, E], the text's states [B, T, E]
  DecoderConditions forward(const at::Tensor& image_embeds, const at::Tensor& text_embeds,
                            const at::Tensor& text_states) const;
};

}  // namespace readback::models
