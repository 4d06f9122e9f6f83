// OPT's decoder (https://arxiv.org/abs/2205.01068): the language side of BLIP-2.
// S sequences, T tokens, C width.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "readback/checkpoint/config_reader.h"
#include "readback/nn/key_value_cache.h"
#include "readback/nn/layers.h"

namespace readback::models {

struct OptConfig {
  int64_t vocab_size = 50272, hidden_size = 768, num_hidden_layers = 12, ffn_dim = 3072, num_attention_heads = 12,
          max_position_embeddings = 2048, bos_token_id = 2, eos_token_id = 2;
  bool do_layer_norm_before = true, remove_final_layer_norm = false;
  std::string activation_function = "relu";
  static OptConfig read(checkpoint::ConfigReader config);
};

struct OptLayer {
  int64_t heads;
  bool norm_before;
  nn::LayerNorm self_attn_layer_norm, final_layer_norm;
  nn::Linear q_proj, k_proj, v_proj, out_proj, fc1, fc2;
  nn::Activation act = nullptr;
  OptLayer(const nn::Weights& weights, const OptConfig& config);
  at::Tensor forward(at::Tensor x, nn::KeyValueCache* cache, int64_t index) const;  // [S, T, C]
};

struct Opt {
  OptConfig config;
  nn::Embedding embed_tokens, embed_positions;
  std::vector<OptLayer> layers;
  std::optional<nn::LayerNorm> final_layer_norm;
  nn::Linear lm_head;
  Opt(const OptConfig& config, const nn::Weights& weights);  // the scope of OPTForCausalLM
  // embeddings: [S, T, C], which follow what `cache` holds, and are added to it. Differentiable
  // without a cache.
  at::Tensor forward(const at::Tensor& embeddings, nn::KeyValueCache* cache) const;
  at::Tensor logits(const at::Tensor& hidden) const { return lm_head(hidden); }
};

}  // namespace readback::models
