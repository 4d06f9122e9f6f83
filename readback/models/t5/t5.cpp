#include "readback/models/t5/t5.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>

#include "readback/base/error.h"
#include "readback/nn/differentiable.h"

namespace readback::models {

using nn::Linear;

T5Config T5Config::read(checkpoint::ConfigReader config) {
  T5Config c;
  c.vocab_size = config.get("vocab_size", c.vocab_size);
  c.d_model = config.get("d_model", c.d_model);
  c.d_kv = config.get("d_kv", c.d_kv);
  c.d_ff = config.get("d_ff", c.d_ff);
  c.num_layers = config.get("num_layers", c.num_layers);
  c.num_decoder_layers = config.get("num_decoder_layers", c.num_layers);
  c.num_heads = config.get("num_heads", c.num_heads);
  c.relative_attention_num_buckets = config.get("relative_attention_num_buckets", c.relative_attention_num_buckets);
  c.relative_attention_max_distance = config.get("relative_attention_max_distance", c.relative_attention_max_distance);
  c.layer_norm_epsilon = config.get("layer_norm_epsilon", c.layer_norm_epsilon);
  const auto feed_forward = config.get<std::string>("feed_forward_proj", "relu");
  c.gated = feed_forward.starts_with("gated-");
  c.activation = feed_forward == "gated-gelu" ? "gelu_new" : c.gated ? feed_forward.substr(6) : feed_forward;
  // Version 1.1 said by this that its head has weights of its own and takes the states as they are.
  c.scale_decoder_outputs = config.get("scale_decoder_outputs", config.get("tie_word_embeddings", true));
  c.decoder_start_token_id = config.get("decoder_start_token_id", c.decoder_start_token_id);
  c.eos_token_id = config.get("eos_token_id", c.eos_token_id);
  c.pad_token_id = config.get("pad_token_id", c.pad_token_id);
  config.expect("model_type", {"t5"});
  config.expect("is_encoder_decoder", {true});
  config.ignore({"classifier_dropout", "dense_act_fn", "dropout_rate", "initializer_factor", "is_decoder",
                 "is_gated_act", "n_positions", "output_past", "task_specific_params", "use_cache"});
  config.finish();
  return c;
}

T5Attention::T5Attention(const nn::Weights& weights, const T5Config& config)
    : heads(config.num_heads),
      q(weights["q"], config.d_model, config.num_heads * config.d_kv, false),
      k(weights["k"], config.d_model, config.num_heads * config.d_kv, false),
      v(weights["v"], config.d_model, config.num_heads * config.d_kv, false),
      o(weights["o"], config.num_heads * config.d_kv, config.d_model, false) {}

at::Tensor T5Attention::forward(const at::Tensor& x, const at::Tensor& key, const at::Tensor& value,
                                const at::Tensor& bias) const {
  const std::optional<at::Tensor> mask = bias.defined() ? std::optional(bias) : std::nullopt;
  return o(nn::attention(nn::split_heads(q(x), heads), key, value, mask, /*causal=*/false, /*scale=*/1.0));
}

T5Block::T5Block(const nn::Weights& weights, const T5Config& config, bool is_decoder)
    : self_norm(weights["layer"][0]["layer_norm"], config.d_model, config.layer_norm_epsilon),
      self_attention(weights["layer"][0]["SelfAttention"], config),
      act(nn::activation(config.activation)) {
  const nn::Weights layers = weights["layer"];
  if (is_decoder) {
    cross_norm = nn::RmsNorm(layers[1]["layer_norm"], config.d_model, config.layer_norm_epsilon);
    cross_attention.emplace(layers[1]["EncDecAttention"], config);
  }
  const nn::Weights last = layers[is_decoder ? 2 : 1], dense = last["DenseReluDense"];
  feed_norm = nn::RmsNorm(last["layer_norm"], config.d_model, config.layer_norm_epsilon);
  wi = Linear(dense[config.gated ? "wi_0" : "wi"], config.d_model, config.d_ff, false);
  if (config.gated) wi_gate = Linear(dense["wi_1"], config.d_model, config.d_ff, false);
  const nn::Weights wide = dense["wo"].float32_for_float16();
  wo = Linear(wide, config.d_ff, config.d_model, false);
  wo_dtype = wide.dtype();
}

at::Tensor T5Block::feed_forward(const at::Tensor& x) const {
  const at::Tensor normed = feed_norm(x), inner = act(wi(normed));
  const bool gated = wi_gate.weight.defined() || wi_gate.packed.defined();
  return x + wo((gated ? inner * wi_gate(normed) : inner).to(wo_dtype));
}

T5Bias::T5Bias(const nn::Weights& weights, const T5Config& config, bool both_directions)
    : embedding(weights["relative_attention_bias"], config.relative_attention_num_buckets, config.num_heads),
      buckets(config.relative_attention_num_buckets),
      max_distance(config.relative_attention_max_distance),
      both_directions(both_directions) {}

at::Tensor T5Bias::operator()(int64_t tokens, int64_t length) const {
  const at::Tensor keys = at::arange(length), queries = at::arange(length - tokens, length).unsqueeze(1);
  const at::Tensor distance = keys - queries;  // [tokens, length]
  const int64_t sided = both_directions ? buckets / 2 : buckets, exact = sided / 2;
  const at::Tensor apart = both_directions ? distance.abs() : distance.neg().clamp_min(0);
  // Beyond `exact` tokens, buckets are as wide as they are far: float32, as transformers.
  const at::Tensor far = (at::log(apart.to(at::kFloat) / exact) /
                          std::log(static_cast<double>(max_distance) / static_cast<double>(exact)) * (sided - exact))
                             .to(at::kLong) +
                         exact;
  at::Tensor bucket = at::where(apart.lt(exact), apart, far.clamp_max(sided - 1));
  if (both_directions) bucket = bucket + distance.gt(0) * sided;
  at::Tensor bias = embedding(bucket.to(embedding.weight.device())).permute({2, 0, 1}).unsqueeze(0);
  if (!both_directions && tokens > 1) {
    bias = bias.masked_fill(distance.gt(0).to(bias.device()), -std::numeric_limits<float>::infinity());
  }
  return bias.contiguous();
}

T5::T5(const T5Config& config, const nn::Weights& weights)
    : config(config),
      shared(weights["shared"], config.vocab_size, config.d_model),
      encoder_bias(weights["encoder"]["block"][0]["layer"][0]["SelfAttention"], config, true),
      decoder_bias(weights["decoder"]["block"][0]["layer"][0]["SelfAttention"], config, false),
      encoder_norm(weights["encoder"]["final_layer_norm"], config.d_model, config.layer_norm_epsilon),
      decoder_norm(weights["decoder"]["final_layer_norm"], config.d_model, config.layer_norm_epsilon) {
  for (int64_t i = 0; i < config.num_layers; ++i) encoder.emplace_back(weights["encoder"]["block"][i], config, false);
  for (int64_t i = 0; i < config.num_decoder_layers; ++i) {
    decoder.emplace_back(weights["decoder"]["block"][i], config, true);
  }
  for (const char* repeated : {"encoder", "decoder"}) weights[repeated]["embed_tokens"].ignore("weight");
  weights["decoder"]["block"][0]["layer"][1]["EncDecAttention"].ignore("relative_attention_bias.weight");
  if (weights["lm_head"].has("weight")) {
    lm_head = Linear(weights["lm_head"], config.d_model, config.vocab_size, false);
    return;
  }
  lm_head.weight = shared.weight;
  if (weights.is_for_inference()) lm_head.pack();
}

at::Tensor T5::encode(at::Tensor x) const {
  const at::Tensor bias = encoder_bias(x.size(1), x.size(1)).to(x.scalar_type());
  for (const T5Block& block : encoder) {
    x = nn::checkpointed(
        [&block](const std::vector<at::Tensor>& inputs) {
          const at::Tensor normed = block.self_norm(inputs[0]);
          const T5Attention& attention = block.self_attention;
          return block.feed_forward(
              inputs[0] + attention.forward(normed, nn::split_heads(attention.k(normed), attention.heads),
                                            nn::split_heads(attention.v(normed), attention.heads), inputs[1]));
        },
        {x, bias});
  }
  return encoder_norm(x);
}

T5State T5::prepare(const at::Tensor& encoded, int64_t capacity) const {
  T5State state{{}, nn::KeyValueCache(config.num_decoder_layers, capacity)};
  for (const T5Block& block : decoder) {
    const T5Attention& attention = *block.cross_attention;
    state.layers.push_back({nn::split_heads(attention.k(encoded), attention.heads).contiguous(),
                            nn::split_heads(attention.v(encoded), attention.heads).contiguous()});
  }
  return state;
}

at::Tensor T5::decode(const at::Tensor& ids, T5State& state, bool cache) const {
  at::Tensor x = shared(ids);
  const int64_t first = cache ? state.cache.length() : 0, tokens = ids.size(1);
  const at::Tensor bias = decoder_bias(tokens, first + tokens).to(x.scalar_type());
  for (size_t i = 0; i < decoder.size(); ++i) {
    const auto run = [&block = decoder[i], stored = cache ? &state.cache : nullptr,
                      i](const std::vector<at::Tensor>& inputs) {
      at::Tensor y = inputs[0];
      const at::Tensor normed = block.self_norm(y);
      const T5Attention& attention = block.self_attention;
      at::Tensor key = nn::split_heads(attention.k(normed), attention.heads),
                 value = nn::split_heads(attention.v(normed), attention.heads);
      if (stored) std::tie(key, value) = stored->append(static_cast<int64_t>(i), key, value);
      y = y + attention.forward(normed, key, value, inputs[1]);
      // The sequences of one text stand side by side: they are one longer text to its keys.
      const at::Tensor sought = block.cross_norm(y);
      const int64_t texts = inputs[2].size(0), rows = y.size(0) / texts * y.size(1);
      y = y + block.cross_attention->forward(sought.view({texts, rows, y.size(2)}), inputs[2], inputs[3], {})
                  .view(y.sizes());
      return block.feed_forward(y);
    };
    x = nn::checkpointed(run, {x, bias, state.layers[i].key, state.layers[i].value});
  }
  if (cache) state.cache.advance(tokens);
  x = decoder_norm(x);
  if (config.scale_decoder_outputs) x = x * std::pow(static_cast<double>(config.d_model), -0.5);
  return lm_head(x);
}

void select(T5State& state, const at::Tensor& texts, const at::Tensor& sequences) {
  if (texts.defined()) {
    for (T5State::Layer& layer : state.layers) {
      layer = {layer.key.index_select(0, texts), layer.value.index_select(0, texts)};
    }
  }
  if (sequences.defined()) state.cache.select(sequences);
}

}  // namespace readback::models
