// What transformers and diffusers made of the tiny models in tests/goldens/models (tools/reference/models.py).
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "readback/checkpoint/config_reader.h"
#include "readback/checkpoint/repository.h"
#include "readback/nn/weights.h"

namespace readback::models {

// One folder of tests/goldens/models: a repository and its golden.safetensors.
struct Golden {
  explicit Golden(const std::string& name);
  std::string name;
  checkpoint::Repository repository;
  checkpoint::TensorMap values;
  checkpoint::TensorMap tensors;  // of the checkpoint, in memory that an optimiser may write to

  const at::Tensor& operator[](const std::string& key) const { return values.at(key); }
  checkpoint::ConfigReader config() const;
  nn::Weights weights() const;
};

// Largest difference over largest expected magnitude; infinite when the shapes differ.
double relative_error(const at::Tensor& actual, const at::Tensor& expected);

// Outputs, gradients and losses agree when their relative error is below this.
constexpr double kTolerance = 2e-5;

using Loss = std::function<at::Tensor()>;

// Fails the test unless the loss, the gradient of every parameter, and ten AdamW losses are the reference's.
// Changes the parameters.
void expect_same_training(const Golden& golden, const nn::Weights& weights, const Loss& loss);

// The message of the CheckpointError that `build` throws; fails the test when it throws none.
std::string checkpoint_error(const std::function<void()>& build);

}  // namespace readback::models
