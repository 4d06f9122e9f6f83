// Ten AdamW steps of Stable Diffusion XL's UNet, as tools/reference/tuned_generators.py took them with diffusers and
// PEFT.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "readback/train/optimizer.h"
#include "readback/train/unified_batches.h"
#include "unified_golden.h"

namespace readback::train {
namespace {

const checkpoint::TensorMap& golden() {
  static const checkpoint::TensorMap values = checkpoint::load_safetensors(kGoldens + "train/generators.safetensors");
  return values;
}

const nlohmann::json& description() {
  static const nlohmann::json json = read_json(kGoldens + "train/generators.json");
  return json;
}

ModelPairOptions options_of(const Case& test) {
  return {.captioner = kGoldens + "caption/blip",
          .generator = kGoldens + "generate/" + test.json["repository"].get<std::string>(),
          .train_captioner = Selection::kNone,
          .train_generator = test.trained(),
          .lora = {.rank = 2, .alpha = 3},
          .minimum_coverage = 0};
}

class TunedGenerator : public testing::TestWithParam<const char*> {};

TEST_P(TunedGenerator, TenStepsHaveTheReferencesLossesAndGradients) {
  at::set_num_threads(1);  // the models are tiny
  const Case test{GetParam(), description()["cases"][GetParam()], golden()};
  const ModelPair pair(options_of(test), {.device = test_device()});
  UnifiedModels models = pair.models();
  nlohmann::json scheduler = models.scheduler;
  scheduler["prediction_type"] = test.json["prediction_type"];
  models.schedule = generate::NoiseSchedule::from_config(scheduler);
  UnifiedOptions options;
  options.lm_weight = 0;
  const UnifiedObjective objective(models, options);
  UnifiedBatches batches({}, options, pair);
  const std::map<std::string, at::Tensor> parameters = pair.parameters();
  AdamWOptions adamw;
  adamw.clip_norm = description()["clip_norm"];
  AdamW optimizer(parameters, adamw);
  ASSERT_EQ(test.gradients(), parameters.size());
  for (const auto& [key, parameter] : parameters) {
    if (test.trained() < Selection::kLoraAll) break;
    c10::NoGradGuard no_grad;
    at::Tensor(parameter).copy_(test["start." + key]);
  }
  const nlohmann::json& steps = description()["texts"];
  for (int64_t step = 0; step < std::ssize(steps); ++step) {
    const auto texts = steps[static_cast<size_t>(step)].get<std::vector<std::string>>();
    const std::vector<int64_t> shape = {std::ssize(texts), 4, 8, 8};
    const UnifiedLoss loss = objective.text_cycle({.latents = Case::draw("latents", step, shape),
                                                   .noise = Case::draw("noise", step, shape),
                                                   .timesteps = test.at_step(step, "timesteps"),
                                                   .text = batches.conditions(texts)});
    const double truth = test["losses"][step].item<double>();
    EXPECT_NEAR(loss.total.item<double>(), truth, 1e-4 * truth) << "step " << step;
    loss.total.backward();
    if (step == 0 || step + 1 == std::ssize(steps)) expect_gradients(parameters, test, step);
    optimizer.step(description()["learning_rate"]);
    optimizer.zero_grad();
  }
}

INSTANTIATE_TEST_SUITE_P(Train, TunedGenerator, testing::Values("xl", "xl-velocity", "xl-lora"), [](const auto& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace readback::train
