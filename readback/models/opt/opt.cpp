#include "readback/models/opt/opt.h"

#include <ATen/ATen.h>

#include "readback/base/error.h"
#include "readback/nn/differentiable.h"

namespace readback::models {

OptConfig OptConfig::read(checkpoint::ConfigReader config) {
  OptConfig c;
  c.vocab_size = config.get("vocab_size", c.vocab_size);
  c.hidden_size = config.get("hidden_size", c.hidden_size);
  c.num_hidden_layers = config.get("num_hidden_layers", c.num_hidden_layers);
  c.ffn_dim = config.get("ffn_dim", c.ffn_dim);
  c.num_attention_heads = config.get("num_attention_heads", c.num_attention_heads);
  c.max_position_embeddings = config.get("max_position_embeddings", c.max_position_embeddings);
  config.expect("word_embed_proj_dim", {c.hidden_size});  // BLIP-2 has none whose words are narrower
  c.do_layer_norm_before = config.get("do_layer_norm_before", c.do_layer_norm_before);
  c.remove_final_layer_norm = config.get("_remove_final_layer_norm", c.remove_final_layer_norm);
  c.activation_function = config.get("activation_function", c.activation_function);
  c.bos_token_id = config.get("bos_token_id", c.bos_token_id);
  c.eos_token_id = config.get("eos_token_id", c.eos_token_id);
  config.expect("model_type", {"opt"});
  config.expect("enable_bias", {true});
  config.expect("layer_norm_elementwise_affine", {true});
  config.expect("tie_word_embeddings", {true});
  config.ignore({"attention_dropout", "dropout", "init_std", "layerdrop", "output_projection", "prefix", "use_cache",
                 "activation_dropout"});
  config.finish();
  return c;
}

OptLayer::OptLayer(const nn::Weights& weights, const OptConfig& config)
    : heads(config.num_attention_heads),
      norm_before(config.do_layer_norm_before),
      self_attn_layer_norm(weights["self_attn_layer_norm"], config.hidden_size, 1e-5),
      final_layer_norm(weights["final_layer_norm"], config.hidden_size, 1e-5),
      fc1(weights["fc1"], config.hidden_size, config.ffn_dim),
      fc2(weights["fc2"], config.ffn_dim, config.hidden_size),
      act(nn::activation(config.activation_function)) {
  const nn::Weights attention = weights["self_attn"];
  const int64_t width = config.hidden_size;
  q_proj = nn::Linear(attention["q_proj"], width, width);
  k_proj = nn::Linear(attention["k_proj"], width, width);
  v_proj = nn::Linear(attention["v_proj"], width, width);
  out_proj = nn::Linear(attention["out_proj"], width, width);
}

at::Tensor OptLayer::forward(at::Tensor x, nn::KeyValueCache* cache, int64_t index) const {
  const at::Tensor normed = norm_before ? self_attn_layer_norm(x) : x;
  const at::Tensor query = nn::split_heads(q_proj(normed), heads);
  at::Tensor key = nn::split_heads(k_proj(normed), heads), value = nn::split_heads(v_proj(normed), heads);
  if (cache) std::tie(key, value) = cache->append(index, key, value);
  x = x + out_proj(nn::causal_attention(query, key, value));
  if (!norm_before) x = self_attn_layer_norm(x);
  x = x + fc2(act(fc1(norm_before ? final_layer_norm(x) : x)));
  return norm_before ? x : final_layer_norm(x);
}

Opt::Opt(const OptConfig& config, const nn::Weights& weights) : config(config) {
  constexpr int64_t kOffset = 2;  // of positions
  const nn::Weights decoder = weights["model"]["decoder"];
  const int64_t width = config.hidden_size;
  embed_tokens = nn::Embedding(decoder["embed_tokens"], config.vocab_size, width);
  embed_positions = nn::Embedding(decoder["embed_positions"], config.max_position_embeddings + kOffset, width);
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) layers.emplace_back(decoder["layers"][i], config);
  if (config.do_layer_norm_before && !config.remove_final_layer_norm) {
    final_layer_norm.emplace(decoder["final_layer_norm"], width, 1e-5);
  }
  weights["lm_head"].ignore("weight");  // the embeddings; some exports repeat them
  lm_head.weight = embed_tokens.weight;
  if (weights.is_for_inference()) lm_head.pack();
}

at::Tensor Opt::forward(const at::Tensor& embeddings, nn::KeyValueCache* cache) const {
  const int64_t first = cache ? cache->length() : 0, tokens = embeddings.size(1);
  if (first + tokens > config.max_position_embeddings) {
    throw UsageError(describe("OPT", "at most " + std::to_string(config.max_position_embeddings) + " tokens",
                              std::to_string(first + tokens)));
  }
  at::Tensor x = embeddings + embed_positions.weight.narrow(0, first + 2, tokens);
  for (size_t i = 0; i < layers.size(); ++i) {
    x = nn::checkpointed(
        [&layer = layers[i], cache, i](const std::vector<at::Tensor>& inputs) {
          return layer.forward(inputs[0], cache, static_cast<int64_t>(i));
        },
        {x});
  }
  if (cache) cache->advance(tokens);
  return final_layer_norm ? (*final_layer_norm)(x) : x;
}

}  // namespace readback::models
