#include "readback/models/bert/bert.h"

#include <ATen/ATen.h>

#include <limits>

#include "readback/base/error.h"

namespace readback::models {

BertConfig BertConfig::read(checkpoint::ConfigReader config) {
  BertConfig c;
  c.read_sizes(config);
  config.expect("model_type", {"bert"});
  c.vocab_size = config.get("vocab_size", c.vocab_size);
  c.max_position_embeddings = config.get("max_position_embeddings", c.max_position_embeddings);
  c.type_vocab_size = config.get("type_vocab_size", c.type_vocab_size);
  config.expect("position_embedding_type", {"absolute"});
  config.expect("is_decoder", {false});
  config.expect("add_cross_attention", {false});
  config.ignore({"attention_probs_dropout_prob", "hidden_dropout_prob", "classifier_dropout", "initializer_range",
                 "tie_word_embeddings"});
  config.finish();
  return c;
}

BertLayer::BertLayer(const nn::Weights& weights, const BertConfig& config)
    : heads(config.num_attention_heads), act(nn::activation(config.hidden_act)) {
  const int64_t width = config.hidden_size;
  const nn::Weights attention = weights["attention"]["self"], mixed = weights["attention"]["output"];
  query = nn::Linear(attention["query"], width, width);
  key = nn::Linear(attention["key"], width, width);
  value = nn::Linear(attention["value"], width, width);
  attention_output = nn::Linear(mixed["dense"], width, width);
  attention_norm = nn::LayerNorm(mixed["LayerNorm"], width, config.layer_norm_eps);
  intermediate = nn::Linear(weights["intermediate"]["dense"], width, config.intermediate_size);
  output = nn::Linear(weights["output"]["dense"], config.intermediate_size, width);
  output_norm = nn::LayerNorm(weights["output"]["LayerNorm"], width, config.layer_norm_eps);
}

at::Tensor BertLayer::forward(const at::Tensor& x, const std::optional<at::Tensor>& mask) const {
  const at::Tensor mixed = nn::attention(nn::split_heads(query(x), heads), nn::split_heads(key(x), heads),
                                         nn::split_heads(value(x), heads), mask);  // [B, T, C]
  const at::Tensor attended = attention_norm(attention_output(mixed) + x);
  return output_norm(output(act(intermediate(attended))) + attended);
}

Bert::Bert(const BertConfig& config, const nn::Weights& root) : config(config) {
  const nn::Weights weights = root.has("bert.embeddings.word_embeddings.weight") ? root["bert"] : root;
  const nn::Weights embeddings = weights["embeddings"];
  embeddings.ignore("position_ids");
  for (const char* name : {"pooler.dense.weight", "pooler.dense.bias"}) weights.ignore(name);
  word_embeddings = nn::Embedding(embeddings["word_embeddings"], config.vocab_size, config.hidden_size);
  position_embeddings =
      nn::Embedding(embeddings["position_embeddings"], config.max_position_embeddings, config.hidden_size);
  token_type_embeddings =
      nn::Embedding(embeddings["token_type_embeddings"], config.type_vocab_size, config.hidden_size);
  embeddings_norm = nn::LayerNorm(embeddings["LayerNorm"], config.hidden_size, config.layer_norm_eps);
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) layers.emplace_back(weights["encoder"]["layer"][i], config);
}

at::Tensor Bert::forward(const at::Tensor& input_ids, const std::optional<at::Tensor>& lengths) const {
  const int64_t tokens = input_ids.size(1);
  if (tokens > config.max_position_embeddings) {
    throw UsageError(describe("BERT", "at most " + std::to_string(config.max_position_embeddings) + " tokens",
                              std::to_string(tokens)));
  }
  at::Tensor x = embeddings_norm(word_embeddings(input_ids) + token_type_embeddings.weight[0] +
                                 position_embeddings.weight.narrow(0, 0, tokens));  // [B, T, C]
  std::optional<at::Tensor> mask;
  if (lengths) {
    const at::Tensor padding = at::arange(tokens, lengths->options()).unsqueeze(0) >= lengths->unsqueeze(1);  // [B, T]
    mask = at::zeros({input_ids.size(0), 1, 1, tokens}, x.options())
               .masked_fill_(padding.view({-1, 1, 1, tokens}), -std::numeric_limits<float>::infinity());
  }
  for (const BertLayer& layer : layers) x = layer.forward(x, mask);
  return x;
}

}  // namespace readback::models
