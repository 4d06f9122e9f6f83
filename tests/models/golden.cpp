#include "golden.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <limits>
#include <map>

#include "readback/base/error.h"
#include "readback/train/optimizer.h"
#include "tests/source_dir.h"

namespace readback::models {

Golden::Golden(const std::string& name)
    : name(name),
      repository(tests::source_dir().string() + "/tests/goldens/models/" + name),
      values(checkpoint::load_safetensors(repository.path() / "golden.safetensors")) {
  at::set_num_threads(1);  // the models are tiny
  for (const auto& [key, tensor] : repository.tensors()) tensors[key] = tensor.clone();
}

checkpoint::ConfigReader Golden::config() const { return {repository.json(), name + "/config.json"}; }

nn::Weights Golden::weights() const { return nn::Weights(tensors, at::kCPU, at::kFloat, name); }

double relative_error(const at::Tensor& actual, const at::Tensor& expected) {
  if (!actual.defined() || actual.sizes() != expected.sizes()) return std::numeric_limits<double>::infinity();
  const at::Tensor a = actual.detach().to(at::kDouble), b = expected.to(at::kDouble);
  const double error = ((a - b).abs().max() / b.abs().max()).item<double>();
  return std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
}

namespace {

void expect_same_gradients(const Golden& golden, const std::map<std::string, at::Tensor>& parameters) {
  const std::string prefix = "gradient.";
  std::map<std::string, at::Tensor> expected;
  double largest = 0;
  for (const auto& [key, tensor] : golden.values) {
    if (!key.starts_with(prefix)) continue;
    expected[key.substr(prefix.size())] = tensor;
    largest = std::max(largest, tensor.abs().max().item<double>());
  }
  ASSERT_FALSE(expected.empty());
  for (const auto& [key, parameter] : parameters) {
    if (!expected.contains(key)) ADD_FAILURE() << golden.name << ": no reference gradient of " << key;
  }
  for (const auto& [key, gradient] : expected) {
    const auto found = parameters.find(key);
    ASSERT_NE(found, parameters.end()) << golden.name << ": no parameter " << key;
    const at::Tensor& actual = found->second.grad();
    ASSERT_TRUE(actual.defined()) << golden.name << ": no gradient of " << key;
    ASSERT_EQ(actual.sizes(), gradient.sizes()) << golden.name << ": " << key;
    const double difference = (actual - gradient).abs().max().item<double>();
    // Attention's key biases have no effect, so their gradients are rounding errors: an absolute share on top.
    const double allowed = 1e-4 * gradient.abs().max().item<double>() + 1e-6 * largest;
    EXPECT_LE(difference, allowed) << golden.name << ": gradient of " << key;
  }
}

}  // namespace

void expect_same_training(const Golden& golden, const nn::Weights& weights, const Loss& loss) {
  constexpr double kLearningRate = 1e-3;
  train::AdamW optimizer(weights.parameters(), {.clip_norm = 0});  // otherwise torch's defaults, as the reference's
  const at::Tensor& expected = golden["adamw_losses"];
  for (int64_t step = 0; step < expected.size(0); ++step) {
    optimizer.zero_grad();
    const at::Tensor value = loss();
    EXPECT_LT(relative_error(value, expected[step]), kTolerance) << golden.name << ": loss before step " << step;
    value.backward();
    if (step == 0) {
      EXPECT_LT(relative_error(value, golden["loss"]), kTolerance) << golden.name << ": loss";
      expect_same_gradients(golden, weights.parameters());
      if (testing::Test::HasFatalFailure()) return;
    }
    optimizer.step(kLearningRate);
  }
}

std::string checkpoint_error(const std::function<void()>& build) {
  try {
    build();
  } catch (const CheckpointError& error) {
    return error.what();
  }
  ADD_FAILURE() << "expected a CheckpointError";
  return "";
}

}  // namespace readback::models
