// BERT: a bidirectional transformer over word pieces; the body of sentence encoders such as all-MiniLM-L6-v2.
// Paper: https://arxiv.org/abs/1810.04805. Loads BertModel repositories and what nests one under "bert.".
// B batch, T tokens, C width.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "readback/checkpoint/config_reader.h"
#include "readback/models/transformer_sizes.h"
#include "readback/nn/layers.h"

namespace readback::models {

struct BertConfig : TransformerSizes {
  int64_t vocab_size = 30522, max_position_embeddings = 512, type_vocab_size = 2;
  static BertConfig read(checkpoint::ConfigReader config);
};

struct BertLayer {
  int64_t heads;
  nn::Linear query, key, value, attention_output, intermediate, output;
  nn::LayerNorm attention_norm, output_norm;
  nn::Activation act;
  BertLayer(const nn::Weights& weights, const BertConfig& config);
  at::Tensor forward(const at::Tensor& x, const std::optional<at::Tensor>& mask) const;  // [B, T, C] → [B, T, C]
};

struct Bert {
  BertConfig config;
  nn::Embedding word_embeddings, position_embeddings, token_type_embeddings;
  nn::LayerNorm embeddings_norm;
  std::vector<BertLayer> layers;
  Bert(const BertConfig& config, const nn::Weights& weights);
  // input_ids: int64 [B, T], T at most max_position_embeddings, every token of the first type.
  // lengths: int64 [B], how many tokens of each row are text; what follows is padding that no token attends to. All of
  // them without it. → last hidden state [B, T, C]. Errors: UsageError.
  at::Tensor forward(const at::Tensor& input_ids, const std::optional<at::Tensor>& lengths = {}) const;
};

}  // namespace readback::models
