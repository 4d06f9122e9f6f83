// What the configurations of transformers have in common.
#pragma once
#include <cstdint>
#include <string>

#include "readback/checkpoint/config_reader.h"

namespace readback::models {

// Named as in transformers' configurations; the values are the base models'.
struct TransformerSizes {
  int64_t hidden_size = 768, intermediate_size = 3072, num_hidden_layers = 12, num_attention_heads = 12;
  std::string hidden_act = "gelu";
  double layer_norm_eps = 1e-12;
  // Takes what `config` states; the rest keeps its value. Errors: CheckpointError.
  void read_sizes(checkpoint::ConfigReader& config);
};

// Of a size that others are divided by. Errors: CheckpointError unless `value` is at least 1.
void expect_positive(const checkpoint::ConfigReader& config, const std::string& key, int64_t value);

}  // namespace readback::models
