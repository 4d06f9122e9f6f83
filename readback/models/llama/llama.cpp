#include "readback/models/llama/llama.h"

#include <ATen/ATen.h>

#include "readback/base/error.h"
#include "readback/models/transformer_sizes.h"
#include "readback/nn/differentiable.h"

namespace readback::models {

void LlamaConfig::read_sizes(checkpoint::ConfigReader& config) {
  vocab_size = config.get("vocab_size", vocab_size);
  hidden_size = config.get("hidden_size", hidden_size);
  intermediate_size = config.get("intermediate_size", intermediate_size);
  num_hidden_layers = config.get("num_hidden_layers", num_hidden_layers);
  num_attention_heads = config.get("num_attention_heads", num_attention_heads);
  max_position_embeddings = config.get("max_position_embeddings", max_position_embeddings);
  hidden_act = config.get("hidden_act", hidden_act);
  rms_norm_eps = config.get("rms_norm_eps", rms_norm_eps);
  expect_positive(config, "num_attention_heads", num_attention_heads);
  num_key_value_heads = num_attention_heads;
  head_dim = hidden_size / num_attention_heads;
  // transformers 5 keeps what concerns the rotation together.
  rope_theta = config.get("rope_theta", rope_theta);
  config.expect("rope_scaling", {nullptr});
  checkpoint::ConfigReader rope = config.section("rope_parameters");
  rope_theta = rope.get("rope_theta", rope_theta);
  rope.expect("rope_type", {"default"});
  rope.finish();
  config.ignore({"initializer_range", "use_cache", "pretraining_tp"});
}

LlamaConfig LlamaConfig::read(checkpoint::ConfigReader config) {
  LlamaConfig c;
  c.rms_norm_eps = 1e-5;  // of SmolVLM's section, where nothing is said
  c.read_sizes(config);
  c.num_key_value_heads = config.get("num_key_value_heads", c.num_key_value_heads);
  c.head_dim = config.get("head_dim", c.head_dim);
  c.attention_bias = config.get("attention_bias", false);
  c.mlp_bias = config.get("mlp_bias", false);
  config.expect("model_type", {"llama"});
  config.expect("use_resampler", {false});
  config.expect("qk_layer_norms", {false});
  config.expect("rope_interleaved", {false});
  // Attributes of the class that SmolVLM was trained with.
  config.ignore({"_flash_attn_2_enabled", "attention_dropout", "is_llama_config", "neftune_noise_alpha",
                 "perceiver_config", "pixel_shuffle_factor", "tie_word_embeddings", "transformers.js_config"});
  config.finish();
  expect_positive(config, "num_key_value_heads", c.num_key_value_heads);
  if (c.num_attention_heads % c.num_key_value_heads != 0) {
    throw CheckpointError(describe(config.where() + ": num_key_value_heads",
                                   "a divisor of num_attention_heads = " + std::to_string(c.num_attention_heads),
                                   std::to_string(c.num_key_value_heads)));
  }
  return c;
}

LlamaMlp::LlamaMlp(const nn::Weights& weights, const LlamaConfig& config)
    : gate_proj(weights["gate_proj"], config.hidden_size, config.intermediate_size, config.mlp_bias),
      up_proj(weights["up_proj"], config.hidden_size, config.intermediate_size, config.mlp_bias),
      down_proj(weights["down_proj"], config.intermediate_size, config.hidden_size, config.mlp_bias),
      act(nn::activation(config.hidden_act)) {}

at::Tensor LlamaMlp::operator()(const at::Tensor& x) const { return down_proj(act(gate_proj(x)) * up_proj(x)); }

LlamaLayer::LlamaLayer(const nn::Weights& weights, const LlamaConfig& config)
    : heads(config.num_attention_heads),
      groups(config.num_key_value_heads),
      input_layernorm(weights["input_layernorm"], config.hidden_size, config.rms_norm_eps),
      post_attention_layernorm(weights["post_attention_layernorm"], config.hidden_size, config.rms_norm_eps),
      mlp(weights["mlp"], config) {
  const nn::Weights attention = weights["self_attn"];
  attention.ignore("rotary_emb.inv_freq");
  const int64_t width = config.hidden_size, all = heads * config.head_dim, shared = groups * config.head_dim;
  q_proj = nn::Linear(attention["q_proj"], width, all, config.attention_bias);
  k_proj = nn::Linear(attention["k_proj"], width, shared, config.attention_bias);
  v_proj = nn::Linear(attention["v_proj"], width, shared, config.attention_bias);
  o_proj = nn::Linear(attention["o_proj"], all, width, config.attention_bias);
}

at::Tensor LlamaLayer::forward(at::Tensor x, const nn::Rotation& rotation, nn::KeyValueCache* cache,
                               int64_t index) const {
  const at::Tensor normed = input_layernorm(x);
  const at::Tensor query = rotation(nn::split_heads(q_proj(normed), heads));
  at::Tensor key = rotation(nn::split_heads(k_proj(normed), groups)), value = nn::split_heads(v_proj(normed), groups);
  if (cache) std::tie(key, value) = cache->append(index, key, value);
  x = x + o_proj(nn::causal_attention(query, key, value));
  return x + mlp(post_attention_layernorm(x));
}

Llama::Llama(const LlamaConfig& config, const nn::Weights& weights)
    : config(config), embed_tokens(weights["embed_tokens"], config.vocab_size, config.hidden_size) {
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) layers.emplace_back(weights["layers"][i], config);
  norm = nn::RmsNorm(weights["norm"], config.hidden_size, config.rms_norm_eps);
}

at::Tensor Llama::forward(at::Tensor x, nn::KeyValueCache* cache) const {
  const int64_t first = cache ? cache->length() : 0, tokens = x.size(1);
  const nn::Rotation rotation(first, tokens, config.head_dim, config.rope_theta, x.options());
  for (size_t i = 0; i < layers.size(); ++i) {
    const auto run = [&layer = layers[i], rotation, cache, i](const std::vector<at::Tensor>& inputs) {
      return layer.forward(inputs[0], rotation, cache, static_cast<int64_t>(i));
    };
    x = nn::checkpointed(run, {x});
  }
  if (cache) cache->advance(tokens);
  return norm(x);
}

}  // namespace readback::models
