#include "readback/models/transformer_sizes.h"

#include "readback/base/error.h"

namespace readback::models {

void TransformerSizes::read_sizes(checkpoint::ConfigReader& config) {
  hidden_size = config.get("hidden_size", hidden_size);
  intermediate_size = config.get("intermediate_size", intermediate_size);
  num_hidden_layers = config.get("num_hidden_layers", num_hidden_layers);
  num_attention_heads = config.get("num_attention_heads", num_attention_heads);
  hidden_act = config.get("hidden_act", hidden_act);
  layer_norm_eps = config.get("layer_norm_eps", layer_norm_eps);
}

void expect_positive(const checkpoint::ConfigReader& config, const std::string& key, int64_t value) {
  if (value >= 1) return;
  throw CheckpointError(describe(config.where() + ": " + key, "at least 1", std::to_string(value)));
}

}  // namespace readback::models
