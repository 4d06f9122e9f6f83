#include "readback/models/stable_diffusion/safety_checker.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "golden.h"

namespace readback::models {
namespace {

std::vector<bool> expected_flags(const Golden& golden) {
  const at::Tensor flags = golden["output.has_nsfw_concepts"].to(at::kCPU, at::kBool).contiguous();
  return std::vector<bool>(flags.data_ptr<bool>(), flags.data_ptr<bool>() + flags.numel());
}

// Four pictures: over a threshold, over one that a special concept lowered, over by less than the rounding, and clean.
TEST(SafetyChecker, FlagsWhatTheReferenceFlags) {
  const Golden golden("safety-checker");
  const nn::Weights weights = golden.weights();
  const SafetyChecker checker(ClipConfig::read(golden.config()), weights);
  weights.finish();
  at::NoGradGuard no_grad;
  const at::Tensor embeds =
      checker.visual_projection(checker.vision_model.forward(golden["input.clip_input"]).pooler_output);
  EXPECT_LT(relative_error(embeds, golden["output.image_embeds"]), kTolerance);
  EXPECT_EQ(expected_flags(golden), (std::vector<bool>{true, true, false, false}));
  EXPECT_EQ(checker.flagged(golden["input.clip_input"]), expected_flags(golden));
  EXPECT_EQ(checker.flagged(golden["input.clip_input"].narrow(0, 2, 1)), std::vector<bool>{false});
}

Errors errors_of(const Golden& golden) {
  const nn::Weights weights = golden.weights();
  const SafetyChecker checker(ClipConfig::read(golden.config()), weights);
  weights.finish();
  const at::Tensor embeds =
      checker.visual_projection(checker.vision_model.forward(golden["input.clip_input"]).pooler_output);
  return {{"image_embeds", golden.error(embeds, "image_embeds")}};
}

struct SafetyCheckerParity : Parity {};

TEST_P(SafetyCheckerParity, Outputs) { expect_parity(golden, errors_of); }
TEST_P(SafetyCheckerParity, NoBiasIsMissing) { expect_no_bias_missing(golden, errors_of, {"k_proj.bias"}); }

INSTANTIATE_TEST_SUITE_P(Models, SafetyCheckerParity,
                         testing::Combine(testing::Values("safety-checker"), testing::ValuesIn(all_loadings())),
                         variant_name);

TEST(SafetyChecker, ReadsTheLayoutOfTransformers4) {
  const Golden golden("safety-checker");
  checkpoint::TensorMap old_layout;
  for (const auto& [key, tensor] : golden.tensors) {
    old_layout[key.starts_with("vision_model.") ? "vision_model." + key : key] = tensor;
  }
  old_layout["vision_model.vision_model.embeddings.position_ids"] = at::arange(17).unsqueeze(0);
  const nn::Weights weights(old_layout, test_device(), at::kFloat, "old layout");
  const SafetyChecker checker(ClipConfig::read(golden.config()), weights);
  weights.finish();
  at::NoGradGuard no_grad;
  EXPECT_EQ(checker.flagged(golden["input.clip_input"]), expected_flags(golden));
}

}  // namespace
}  // namespace readback::models
