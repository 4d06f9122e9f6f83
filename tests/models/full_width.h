// Models of published width with few layers, from weights and inputs that both sides compute (hashed.h): an output is
// all that is stored. The rule is fill_hashed() of tools/reference/hashed.py.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "../device.h"
#include "hashed.h"
#include "readback/checkpoint/config_reader.h"
#include "readback/nn/weights.h"

namespace readback::models {

// The model of `config` on test_device(), in the layouts of inference.
template <typename Model, typename Config>
Model full_width_model(const nlohmann::json& json, const std::string& name) {
  const auto config = Config::read({json, name});
  const nn::Weights shapes(checkpoint::TensorMap{}, c10::kMeta, at::kFloat, name);
  (void)Model(config, shapes);
  checkpoint::TensorMap tensors;
  for (const auto& [key, parameter] : shapes.parameters()) {
    const at::IntArrayRef shape = parameter.sizes();
    const double bound = std::sqrt(3.0 * static_cast<double>(shape[0]) / static_cast<double>(parameter.numel()));
    const bool is_norm = key.find("norm") != std::string::npos && key.ends_with("weight");
    tensors[key] = shape.size() > 1 ? hashed(key, shape, -bound, bound)
                   : is_norm        ? hashed(key, shape, 0.8, 1.2)
                                    : hashed(key, shape, -0.1, 0.1);
  }
  const nn::Weights weights = nn::Weights(std::move(tensors), test_device(), at::kFloat, name).for_inference();
  Model model(config, weights);
  weights.finish();
  return model;
}

inline at::Tensor hashed_input(const std::string& name, at::IntArrayRef shape) {
  return hashed(name, shape).to(test_device());
}

}  // namespace readback::models
