// BLIP-2 (https://arxiv.org/abs/2301.12597): a vision transformer, a few queries that read it (the Q-Former), and a
// language model that reads these as its first tokens. Loads Salesforce/blip2-opt-* and blip2-flan-t5-*.
// G pictures, P patches, Cv their width; Q queries, C the language model's width.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <variant>
#include <vector>

#include "readback/checkpoint/config_reader.h"
#include "readback/models/blip/blip.h"
#include "readback/models/opt/opt.h"
#include "readback/models/t5/t5.h"
#include "readback/models/transformer_sizes.h"
#include "readback/nn/layers.h"

namespace readback::models {

struct Blip2Config {
  BlipVisionConfig vision;
  TransformerSizes qformer;
  int64_t cross_attention_frequency = 2, num_query_tokens = 32;
  std::optional<int64_t> image_token_index;  // the token that stands for a query in texts; old exports have none
  std::variant<OptConfig, T5Config> text;
  int64_t text_width() const;
  static Blip2Config read(checkpoint::ConfigReader config);
};

struct QFormerLayer {
  struct Attention {  // post-norm, as in BERT
    int64_t heads;
    nn::Linear query, key, value, output;
    nn::LayerNorm norm;
    Attention(const nn::Weights& weights, const TransformerSizes& sizes, int64_t source_width);
    at::Tensor forward(const at::Tensor& x, const at::Tensor& source) const;
  } attention;
  std::optional<Attention> crossattention;
  nn::Linear intermediate, output;
  nn::LayerNorm norm;
  nn::Activation act = nullptr;
  QFormerLayer(const nn::Weights& weights, const Blip2Config& config, bool crosses);
  at::Tensor forward(const at::Tensor& queries, const at::Tensor& image_embeds) const;
};

struct Blip2 {
  Blip2Config config;
  BlipVisionModel vision_model;
  // float32 where the rest is float16, and the Q-Former with it, as transformers has it.
  at::Tensor query_tokens;  // [1, Q, width of the Q-Former]
  nn::LayerNorm query_norm;
  std::vector<QFormerLayer> qformer;
  nn::Linear language_projection;
  std::optional<Opt> opt;
  std::optional<T5> t5;  // either of them
  Blip2(const Blip2Config& config, const nn::Weights& weights);

  at::Tensor query_states(const at::Tensor& image_embeds) const;  // [G, P, Cv] → [G, Q, width of the Q-Former]
  at::Tensor read_images(const at::Tensor& pixel_values) const;   // [G, 3, H, W] → [G, Q, C]
  // What the language model reads: the pictures' tokens [G, Q, C], then those of ids, int64 [G, T].
  at::Tensor embeddings(const at::Tensor& images, const at::Tensor& ids) const;
  // Differentiable. OPT: ids follow the pictures' tokens; logits [G, Q + T, V]. T5: ids are read by the encoder behind
  // the pictures' tokens, and the logits are those of decoder_ids [G, T'].
  at::Tensor forward(const at::Tensor& pixel_values, const at::Tensor& ids, const at::Tensor& decoder_ids = {}) const;
};

}  // namespace readback::models
