#include "readback/models/dino/dino.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "golden.h"
#include "readback/base/error.h"

namespace readback::models {
namespace {

Dino make(const Golden& golden) {
  const nn::Weights weights = golden.weights();
  Dino dino(DinoConfig::read(golden.config()), weights);
  weights.finish();
  return dino;
}

// At the native size, and at 35 × 48 pixels with patches of 4: another shape in both directions, and 3 pixels that no
// patch takes.
Errors errors_of(const Golden& golden) {
  const Dino dino = make(golden);
  const at::Tensor native = dino.forward(golden["input.native"]), original = dino.forward(golden["input.other"]);
  const at::Tensor exact = dino.forward(golden["input.other"], PositionScaling::kExactSize);
  return {{"native", golden.error(native, "native")},
          {"original", golden.error(original, "original")},
          {"exact-size", golden.error(exact, "exact-size")}};
}

struct DinoParity : Parity {};

TEST_P(DinoParity, AnySizeAsTheOriginalAndAsTransformers) { expect_parity(golden, errors_of); }
TEST_P(DinoParity, NoBiasIsMissing) { expect_no_bias_missing(golden, errors_of, {"key.bias", "pooler."}); }

INSTANTIATE_TEST_SUITE_P(Models, DinoParity,
                         testing::Combine(testing::Values("dino"), testing::ValuesIn(all_loadings())), variant_name);

TEST(Dino, TheTwoScalingsDiffer) {
  const Golden golden("dino");
  const Dino dino = make(golden);
  at::NoGradGuard no_grad;
  const at::Tensor exact = dino.forward(golden["input.other"], PositionScaling::kExactSize);
  EXPECT_GT(relative_error(dino.forward(golden["input.other"]), exact), 10 * kTolerance);
}

TEST(Dino, ReadsClassifiersAndLeavesTheirHeadsOut) {
  Golden golden("dino");
  checkpoint::TensorMap nested;
  for (const auto& [key, tensor] : golden.tensors) {
    if (!key.starts_with("pooler.")) nested["vit." + key] = tensor;
  }
  nested["classifier.weight"] = at::zeros({5, 32});
  nested["classifier.bias"] = at::zeros({5});
  golden.tensors = nested;
  at::NoGradGuard no_grad;
  EXPECT_LT(relative_error(make(golden).forward(golden["input.native"]), golden["output.native"]), kTolerance);
}

TEST(Dino, RefusesWhatItDoesNotKnow) {
  const Golden golden("dino");
  EXPECT_THROW(make(golden).forward(at::zeros({1, 3, 3, 24}, test_device())), UsageError);
  nlohmann::json config = golden.repository.json();
  config["model_type"] = "dinov2";
  EXPECT_THROW(DinoConfig::read({config, "config.json"}), CheckpointError);
}

}  // namespace
}  // namespace readback::models
