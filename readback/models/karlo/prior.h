// PriorTransformer: which CLIP embedding has the picture of this text? The first part of unCLIP (DALL-E 2), as Karlo
// has it. Paper: https://arxiv.org/abs/2204.06125, section 2.2. Loads the `prior` folder of a Karlo repository.
// B batch, T text tokens, E width of CLIP's embeddings.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "readback/checkpoint/config_reader.h"
#include "readback/models/stable_diffusion/unet.h"
#include "readback/nn/layers.h"

namespace readback::models {

struct PriorConfig {
  int64_t num_attention_heads = 32, attention_head_dim = 64, num_layers = 20;
  int64_t embedding_dim = 768;  // E
  int64_t num_embeddings = 77;  // T
  int64_t time_embed_dim = 2048;
  static PriorConfig read(checkpoint::ConfigReader config);
  int64_t width() const { return num_attention_heads * attention_head_dim; }
};

// What the prior reads of a text. Attention is causal and the text comes first, so that keys and values of its T + 1
// tokens (with the embedding) are the same in all steps.
struct PriorContext {
  std::vector<KeyValue> layers;
  at::Tensor mask;  // [B, 1, 1, T + 1], additive: padding is not seen
  PriorContext select(const std::vector<int64_t>& rows) const;
};

struct PriorBlock {
  int64_t heads;
  nn::LayerNorm norm1, norm3;
  nn::Linear to_q, to_k, to_v, to_out, ff_in, ff_out;
  PriorBlock(const nn::Weights& weights, const PriorConfig& config);
  KeyValue keys_of(const at::Tensor& normed) const;
  // x: [B, t, C], seen: keys of all tokens up to these; mask: [B, 1, t, keys]
  at::Tensor forward(const at::Tensor& x, const at::Tensor& normed, const KeyValue& seen, const at::Tensor& mask) const;
};

struct Prior {
  PriorConfig config;
  at::Tensor positional_embedding, prd_embedding;  // [1, T + 4, C], [1, 1, C]
  at::Tensor clip_mean, clip_std;                  // [1, E]
  nn::Linear time_linear_1, time_linear_2, proj_in, embedding_proj, encoder_hidden_states_proj;
  std::vector<PriorBlock> transformer_blocks;
  nn::LayerNorm norm_out;
  nn::Linear proj_to_clip_embeddings;
  Prior(const PriorConfig& config, const nn::Weights& weights);
  // CLIP's text embedding after the projection [B, E], its last hidden states [B, T, E], which of them are no padding
  // (bool [B, T]; the first always is a token)
  PriorContext prepare(const at::Tensor& embeds, const at::Tensor& states, const at::Tensor& tokens) const;
  // sample: a noisy image embedding [B, E], normalised; timesteps: [B], any numeric type → the clean one, [B, E]
  at::Tensor forward(const at::Tensor& sample, const at::Tensor& timesteps, const PriorContext& text) const;
  // A normalised embedding as CLIP's image encoder would give it.
  at::Tensor denormalise(const at::Tensor& embeds) const;
};

}  // namespace readback::models
