// IDEFICS, the open Flamingo (https://arxiv.org/abs/2204.14198, https://arxiv.org/abs/2306.16527): a language model
// that looks at pictures through gated cross-attention. Loads HuggingFaceM4/idefics-9b and idefics-9b-instruct. S
// sequences, T tokens, C width; G sets of I pictures each, which S / G sequences side by side look at; L latents of a
// picture, Cv their width.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "readback/checkpoint/config_reader.h"
#include "readback/models/clip/clip.h"
#include "readback/models/llama/llama.h"
#include "readback/nn/key_value_cache.h"
#include "readback/nn/layers.h"

namespace readback::models {

struct IdeficsConfig {
  LlamaConfig text;
  ClipVisionConfig vision;
  bool use_resampler = false, qk_layer_norms_perceiver = false;
  int64_t resampler_n_latents = 64, resampler_depth = 6, resampler_n_heads = 16, resampler_head_dim = 96;
  int64_t additional_vocab_size = 0, cross_layer_interval = 1;
  bool qk_layer_norms = false;
  std::string alpha_type = "float";  // a gate is one number (float) or one a value (vector)
  int64_t bos_token_id = 1, eos_token_id = 2;
  static IdeficsConfig read(checkpoint::ConfigReader config);
};

// Flamingo's resampler: any number of patches become L latents.
struct IdeficsPerceiver {
  struct Block {
    int64_t heads;
    nn::LayerNorm context_layer_norm, latents_layer_norm, norm;
    std::optional<nn::LayerNorm> q_layer_norm, k_layer_norm;
    nn::Linear q_proj, k_proj, v_proj, output_proj, fc, c_proj;
    Block(const nn::Weights& weights, const IdeficsConfig& config);
    at::Tensor forward(const at::Tensor& context, const at::Tensor& latents) const;
  };
  at::Tensor latents;  // [L, Cv]
  std::vector<Block> blocks;
  nn::LayerNorm layer_norm;
  IdeficsPerceiver(const nn::Weights& weights, const IdeficsConfig& config);
  at::Tensor forward(const at::Tensor& context) const;  // [N, P, Cv] → [N, L, Cv]
};

// The pictures' keys and values in one gated layer: [G, heads, I · L, D].
struct IdeficsImages {
  at::Tensor key, value;
};

struct IdeficsGatedLayer {
  int64_t heads;
  nn::RmsNorm input_layernorm, post_attention_layernorm;
  nn::Linear q_proj, k_proj, v_proj, o_proj;
  std::optional<nn::RmsNorm> q_layer_norm, k_layer_norm;
  at::Tensor alpha_cross_attn, alpha_dense;
  LlamaMlp mlp;
  IdeficsGatedLayer(const nn::Weights& weights, const IdeficsConfig& config);
  IdeficsImages prepare(const at::Tensor& image_states) const;  // [G, I · L, Cv]
  // x: [S, T, C]; mask: additive [G, 1, S / G · T, I · L]; gate: 0 where a token sees no picture, [S, T, 1].
  at::Tensor forward(at::Tensor x, const IdeficsImages& images, const at::Tensor& mask, const at::Tensor& gate) const;
};

struct IdeficsState {
  std::vector<IdeficsImages> images;  // of each gated layer
  int64_t count = 0;                  // I
  at::Tensor seen;                    // int64 [G]: what the last token sees
  nn::KeyValueCache cache;
};

struct Idefics {
  IdeficsConfig config;
  ClipVisionModel vision_model;
  std::optional<IdeficsPerceiver> perceiver;
  Llama text;
  nn::Embedding additional_embedding;
  std::vector<IdeficsGatedLayer> gated_layers;
  nn::Linear lm_head, additional_fc;
  Idefics(const IdeficsConfig& config, const nn::Weights& weights);

  at::Tensor read_images(const at::Tensor& pixel_values) const;  // [G, I, 3, H, W] → [G, I · L, Cv]
  // `capacity`: tokens that will be read at most.
  IdeficsState prepare(const at::Tensor& image_states, int64_t count, int64_t capacity) const;
  // ids: int64 [S, T], which follow what the state has read; seen: int64 [S, T], which of the I pictures a token sees
  // (-1: none), undefined: those that the last one saw. Gives the last layer's states after the norm, [S, T, C].
  at::Tensor hidden_states(const at::Tensor& ids, const at::Tensor& seen, IdeficsState& state) const;
  // Of whole texts, seen all defined, of `count` pictures each; differentiable.
  at::Tensor hidden_states(const at::Tensor& ids, const at::Tensor& seen, const at::Tensor& image_states,
                           int64_t count) const;
  at::Tensor logits(const at::Tensor& hidden) const;  // [..., C] → [..., vocab_size + additional_vocab_size]
  at::Tensor embed(const at::Tensor& ids) const;      // int64 [S, T] → [S, T, C]
  // Without a cache, differentiable: logits [G, T, V] of pixel_values [G, I, 3, H, W], ids and seen [G, T].
  at::Tensor forward(const at::Tensor& pixel_values, const at::Tensor& ids, const at::Tensor& seen) const;

 private:
  at::Tensor run(const at::Tensor& ids, const at::Tensor& seen, const std::vector<IdeficsImages>& images, int64_t count,
                 nn::KeyValueCache* cache) const;
};

// Keeps these sets of pictures and these sequences: int64 indices, which may repeat; undefined keeps all.
void select(IdeficsState& state, const at::Tensor& sets, const at::Tensor& sequences);

}  // namespace readback::models
