// What transformers and diffusers made of the tiny models in tests/goldens/models (tools/reference/models.py).
#pragma once
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <vector>

#include "../device.h"
#include "readback/checkpoint/config_reader.h"
#include "readback/checkpoint/repository.h"
#include "readback/nn/weights.h"

namespace readback::models {

// How a model is loaded: the type it computes in, whether in the layouts of inference, and whether as where memory has
// no room for its matrices, which then stay in the file.
struct Loading {
  at::ScalarType dtype = at::kFloat;
  bool for_inference = false;
  bool in_file = false;
};

// One folder of tests/goldens/models: a repository and its golden.safetensors. The model computes on test_device().
struct Golden {
  explicit Golden(const std::string& name, Loading loading = {});
  std::string name;
  Loading loading;
  checkpoint::Repository repository;
  checkpoint::TensorMap values;   // on test_device(), inputs in the model's type
  checkpoint::TensorMap tensors;  // of the checkpoint, in memory that an optimiser may write to

  const at::Tensor& operator[](const std::string& key) const { return values.at(key); }
  checkpoint::ConfigReader config() const;
  nn::Weights weights() const;
  double error(const at::Tensor& actual, const std::string& output) const;  // error_in() of a stored output
  double tolerance() const;                                                 // of this model in this type
};

// Outputs, gradients and losses in float32 agree when their relative error is below this.
constexpr double kTolerance = 2e-5;

// The relative error of each output that a model is compared by.
using Errors = std::map<std::string, double>;
using Compare = std::function<Errors(const Golden&)>;

// A suite over models and all ways of loading them.
using Variant = std::tuple<const char*, Loading>;
struct Parity : testing::TestWithParam<Variant> {
  Golden golden{std::get<0>(GetParam()), std::get<1>(GetParam())};
};
std::vector<Loading> all_loadings();
std::string variant_name(const testing::TestParamInfo<Variant>& info);  // "blip_large_bfloat16_inference"

// Fails the test unless all errors are within the tolerance of the golden's type.
void expect_parity(const Golden& golden, const Compare& compare);

// The comparison itself must notice an error in any layer: fails the test unless the model's errors exceed the
// tolerance once any bias of its checkpoint is missing, all but those in whose key is one of `without_effect`. In
// bfloat16, which rounds eight times as coarsely as float16, six in ten must be noticed.
void expect_no_bias_missing(const Golden& golden, const Compare& compare,
                            const std::vector<std::string>& without_effect = {});

using Loss = std::function<at::Tensor()>;

// Fails the test unless the loss, the gradient of every parameter, and ten AdamW losses are the reference's.
// Changes the parameters.
void expect_same_training(const Golden& golden, const nn::Weights& weights, const Loss& loss);

// The message of the CheckpointError that `build` throws; fails the test when it throws none.
std::string checkpoint_error(const std::function<void()>& build);

}  // namespace readback::models
