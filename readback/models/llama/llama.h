// LLaMA's decoder (https://arxiv.org/abs/2302.13971), with shared keys (GQA) as its successors have them: the language
// side of SmolVLM and IDEFICS.
// S sequences, T tokens, C width.
#pragma once
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "readback/checkpoint/config_reader.h"
#include "readback/nn/key_value_cache.h"
#include "readback/nn/layers.h"
#include "readback/nn/rotary.h"

namespace readback::models {

struct LlamaConfig {
  int64_t vocab_size = 32000, hidden_size = 4096, intermediate_size = 11008, num_hidden_layers = 32,
          num_attention_heads = 32, num_key_value_heads = 32, head_dim = 128, max_position_embeddings = 2048;
  std::string hidden_act = "silu";
  double rms_norm_eps = 1e-6, rope_theta = 10000;
  bool attention_bias = false, mlp_bias = false;
  // Takes what LlamaConfig and IdeficsConfig have in common; the rest keeps its value. Errors: CheckpointError, also
  // for rotations that are scaled.
  void read_sizes(checkpoint::ConfigReader& config);
  static LlamaConfig read(checkpoint::ConfigReader config);
};

// down(act(gate(x)) · up(x))
struct LlamaMlp {
  nn::Linear gate_proj, up_proj, down_proj;
  nn::Activation act = nullptr;
  LlamaMlp(const nn::Weights& weights, const LlamaConfig& config);
  at::Tensor operator()(const at::Tensor& x) const;
};

struct LlamaLayer {
  int64_t heads, groups;
  nn::RmsNorm input_layernorm, post_attention_layernorm;
  nn::Linear q_proj, k_proj, v_proj, o_proj;
  LlamaMlp mlp;
  LlamaLayer(const nn::Weights& weights, const LlamaConfig& config);
  // x: [S, T, C], which follow what `cache` holds of layer `index`, if there is one.
  at::Tensor forward(at::Tensor x, const nn::Rotation& rotation, nn::KeyValueCache* cache, int64_t index) const;
};

// Without its head, which models put elsewhere.
struct Llama {
  LlamaConfig config;
  nn::Embedding embed_tokens;
  std::vector<LlamaLayer> layers;
  nn::RmsNorm norm;
  Llama(const LlamaConfig& config, const nn::Weights& weights);
  // embeddings: [S, T, C], which follow what `cache` holds, and are added to it. Differentiable without a cache.
  at::Tensor forward(at::Tensor embeddings, nn::KeyValueCache* cache) const;
};

}  // namespace readback::models
