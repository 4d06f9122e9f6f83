#include "golden.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "readback/base/error.h"
#include "readback/train/optimizer.h"
#include "tests/source_dir.h"

namespace readback::models {

Golden::Golden(const std::string& name, Loading loading)
    : name(name),
      loading(loading),
      repository(tests::source_dir().string() + "/tests/goldens/models/" + name),
      values(checkpoint::load_safetensors(repository.path() / "golden.safetensors")) {
  at::set_num_threads(1);  // the models are tiny
  for (auto& [key, tensor] : values) {
    const bool is_input = key.starts_with("input.") && tensor.is_floating_point();
    tensor = tensor.to(test_device(), is_input ? loading.dtype : tensor.scalar_type());
  }
  for (const auto& [key, tensor] : repository.tensors()) tensors[key] = tensor.clone();
}

checkpoint::ConfigReader Golden::config() const { return {repository.json(), name + "/config.json"}; }

nn::Weights Golden::weights() const {
  nn::Weights weights(tensors, test_device(), loading.dtype, name);
  if (loading.in_file) return std::move(weights).for_inference(/*room=*/0);
  return loading.for_inference ? std::move(weights).for_inference() : weights;
}

double Golden::error(const at::Tensor& actual, const std::string& output) const {
  return error_in(loading.dtype, actual, values.at("output." + output));
}

// Measured on a Zen 5 CPU in units of u, bfloat16 and float16 alike; behind it the least error in float16 once a bias
// is missing (a query's, or of a norm between two convolutions):
//   BLIP, CLIP, DINO, the safety checker    3.2 to 5.9    from 43
//   VAE                                     4.3 to 6.7    from 42
//   UNet                                    8.4 to 12.3   from 18
double Golden::tolerance() const {
  const bool is_unet = name.starts_with("unet") || name == "karlo-decoder" || name.starts_with("karlo-super");
  const double roundoffs = is_unet || name.starts_with("idefics") ? 16 : name == "vae" ? 10 : 8;
  return readback::tolerance(loading.dtype, roundoffs);
}

std::vector<Loading> all_loadings() {
  std::vector<Loading> all;
  for (const at::ScalarType dtype : kTestTypes) {
    for (const bool for_inference : {false, true}) all.push_back({dtype, for_inference});
    all.push_back({dtype, /*for_inference=*/true, /*in_file=*/true});
  }
  return all;
}

std::string variant_name(const testing::TestParamInfo<Variant>& info) {
  const auto& [model, loading] = info.param;
  const char* const way = loading.in_file ? "_in_file" : loading.for_inference ? "_inference" : "";
  std::string name = std::string(model) + "_" + dtype_name(loading.dtype) + way;
  std::ranges::replace(name, '-', '_');
  return name;
}

void expect_parity(const Golden& golden, const Compare& compare) {
  at::NoGradGuard no_grad;
  for (const auto& [output, error] : compare(golden)) {
    EXPECT_LT(error, golden.tolerance()) << golden.name << ": " << output;
  }
}

void expect_no_bias_missing(const Golden& golden, const Compare& compare,
                            const std::vector<std::string>& without_effect) {
  at::NoGradGuard no_grad;
  Golden changed = golden;
  size_t biases = 0;
  std::vector<std::string> unnoticed;
  for (const auto& [key, tensor] : golden.tensors) {
    const auto is_part = [&key = key](const std::string& part) { return key.find(part) != std::string::npos; };
    if (!key.ends_with("bias") || std::ranges::any_of(without_effect, is_part)) continue;
    ++biases;
    changed.tensors[key] = at::zeros_like(tensor);
    const Errors errors = compare(changed);
    if (std::ranges::all_of(errors, [&](const auto& entry) { return entry.second < golden.tolerance(); })) {
      unnoticed.push_back(key);
    }
    changed.tensors[key] = tensor;
  }
  EXPECT_GT(biases, 10u);
  const size_t allowed = golden.loading.dtype == at::kBFloat16 ? biases * 4 / 10 : 0;
  EXPECT_LE(unnoticed.size(), allowed) << golden.name << " of " << biases << ": " << testing::PrintToString(unnoticed);
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
    // Nothing reads what has a gradient on neither side.
    if (!expected.contains(key) && parameter.grad().defined())
      ADD_FAILURE() << golden.name << ": no reference gradient of " << key;
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
