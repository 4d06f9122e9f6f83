// T5 and FLAN-T5 (https://arxiv.org/abs/1910.10683): an encoder and a decoder; a language side of BLIP-2.
// G texts that are read, P tokens of each; S sequences that are written, S / G of a text side by side, T tokens; C
// width.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "readback/checkpoint/config_reader.h"
#include "readback/nn/key_value_cache.h"
#include "readback/nn/layers.h"

namespace readback::models {

struct T5Config {
  int64_t vocab_size = 32128, d_model = 512, d_kv = 64, d_ff = 2048, num_layers = 6, num_decoder_layers = 6,
          num_heads = 8, relative_attention_num_buckets = 32, relative_attention_max_distance = 128;
  double layer_norm_epsilon = 1e-6;
  bool gated = false, scale_decoder_outputs = true;
  std::string activation = "relu";
  int64_t decoder_start_token_id = 0, eos_token_id = 1, pad_token_id = 0;
  static T5Config read(checkpoint::ConfigReader config);
};

struct T5Attention {
  int64_t heads;
  nn::Linear q, k, v, o;
  T5Attention(const nn::Weights& weights, const T5Config& config);
  // bias: additive, broadcastable to [S, heads, T, L]; undefined: none. key and value: [S, heads, L, D].
  at::Tensor forward(const at::Tensor& x, const at::Tensor& key, const at::Tensor& value, const at::Tensor& bias) const;
};

struct T5Block {
  nn::RmsNorm self_norm, cross_norm, feed_norm;
  T5Attention self_attention;
  std::optional<T5Attention> cross_attention;  // of decoders
  nn::Linear wi, wi_gate, wo;                  // act(wi x), times wi_gate x where there is one
  c10::ScalarType wo_dtype;                    // float32 where the rest is float16, as transformers has it
  nn::Activation act = nullptr;
  T5Block(const nn::Weights& weights, const T5Config& config, bool is_decoder);
  at::Tensor feed_forward(const at::Tensor& x) const;
};

// How far tokens are apart, of encoders in both directions.
struct T5Bias {
  nn::Embedding embedding;
  int64_t buckets, max_distance;
  bool both_directions;
  T5Bias(const nn::Weights& weights, const T5Config& config, bool both_directions);
  // Of the last `tokens` of `length` tokens to all of them, [1, heads, tokens, length]; what a decoder must not see is
  // hidden.
  at::Tensor operator()(int64_t tokens, int64_t length) const;
};

struct T5State {
  struct Layer {
    at::Tensor key, value;  // of what was read, [G, heads, P, D]
  };
  std::vector<Layer> layers;
  nn::KeyValueCache cache;
};

struct T5 {
  T5Config config;
  nn::Embedding shared;
  std::vector<T5Block> encoder, decoder;
  T5Bias encoder_bias, decoder_bias;
  nn::RmsNorm encoder_norm, decoder_norm;
  nn::Linear lm_head;
  T5(const T5Config& config, const nn::Weights& weights);  // the scope of T5ForConditionalGeneration
  at::Tensor encode(at::Tensor embeddings) const;          // [G, P, C], every token of it counts
  T5State prepare(const at::Tensor& encoded, int64_t capacity) const;
  // ids: int64 [S, T], which follow what the state's cache holds; without `cache` it is left as it is, and this is
  // differentiable. Logits [S, T, V].
  at::Tensor decode(const at::Tensor& ids, T5State& state, bool cache) const;
};

// Keeps these texts and these sequences: int64 indices, which may repeat; undefined keeps all.
void select(T5State& state, const at::Tensor& texts, const at::Tensor& sequences);

}  // namespace readback::models
