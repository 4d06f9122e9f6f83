// Ten micro-steps of the objective, as tools/reference/unified.py took them with transformers and diffusers.
#include "readback/train/unified_objective.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <set>

#include "readback/train/optimizer.h"
#include "unified_golden.h"

namespace readback::train {
namespace {

const checkpoint::TensorMap& golden() {
  static const checkpoint::TensorMap values = checkpoint::load_safetensors(kGoldens + "train/unified.safetensors");
  return values;
}

const nlohmann::json& description() {
  static const nlohmann::json json = read_json(kGoldens + "train/unified.json");
  return json;
}

class UnifiedParity : public testing::TestWithParam<const char*> {};

TEST_P(UnifiedParity, TenMicroStepsHaveTheReferencesLossesAndGradients) {
  const Case test{GetParam(), description()["cases"][GetParam()], golden()};
  const Tiny tiny(test.json["label_smoothing"]);
  nlohmann::json scheduler = description()["schedule"];
  scheduler["prediction_type"] = test.json["prediction_type"];
  const UnifiedObjective objective(
      tiny.models(test["map"], generate::NoiseSchedule::from_config(scheduler), test.json["clip_sample"]),
      test.options());
  const auto parameters = tiny.trained(test.trained(), test.trained());
  AdamWOptions adamw;
  adamw.clip_norm = test.json["clip_norm"];
  const bool paper = test.options().objective == Objective::kPaper;
  AdamW optimizer(parameters, adamw, {{.prefix = "captioner.", .clipped = !paper}});
  ASSERT_EQ(test.gradients(), parameters.size());

  for (int64_t step = 0; step < 10; ++step) {
    const UnifiedLoss loss = step % 2 == 0 ? objective.text_cycle(test.text_cycle(tiny, objective, step))
                                           : objective.image_cycle(test.image_cycle(tiny, step));
    const at::Tensor expected = test["losses"][step];
    const at::Tensor parts[] = {loss.total, loss.diffusion, loss.lm};
    for (int64_t i = 0; i < 3; ++i) {
      const double value = parts[i].item<double>(), truth = expected[i].item<double>();
      EXPECT_NEAR(value, truth, 1e-4 * std::abs(truth)) << "step " << step << ", part " << i;
    }
    (loss.total / 2).backward();
    if (step % 2 == 0) continue;
    expect_gradients(parameters, test, step / 2);
    optimizer.step(1e-3);
    optimizer.zero_grad();
  }
}

INSTANTIATE_TEST_SUITE_P(Train, UnifiedParity,
                         testing::Values("paper-probabilities", "paper-logits", "unified-probabilities",
                                         "unified-logits"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// Every parameter of every model that has a gradient after one backward pass.
std::set<std::string> with_gradient(const Tiny& tiny) {
  std::set<std::string> names;
  const std::pair<const char*, const nn::Weights*> all[] = {{"captioner.", &tiny.blip_weights},
                                                            {"text_encoder.", &tiny.text_weights},
                                                            {"unet.", &tiny.unet_weights},
                                                            {"vae.", &tiny.vae_weights}};
  for (const auto& [prefix, weights] : all) {
    for (const auto& [key, tensor] : weights->parameters()) {
      if (tensor.grad().defined() && tensor.grad().norm().item<double>() > 0) names.insert(prefix + key);
    }
  }
  return names;
}

std::set<std::string> gradients_of(Selection captioner, Selection generator, bool even, UnifiedOptions options = {}) {
  const Case test{"unified-logits", description()["cases"]["unified-logits"], golden()};
  const Tiny tiny;
  const UnifiedObjective objective(
      tiny.models(test["map"], generate::NoiseSchedule::from_config(description()["schedule"])), options);
  const AdamW leaves(tiny.trained(captioner, generator), {});
  const UnifiedLoss loss = even ? objective.text_cycle(test.text_cycle(tiny, objective, 0))
                                : objective.image_cycle(test.image_cycle(tiny, 1));
  loss.total.backward();
  return with_gradient(tiny);
}

TEST(UnifiedGradients, ReachTheQueriesOfBothModelsAndNothingElse) {
  const std::set<std::string> expected = {
      "captioner.text_decoder.bert.encoder.layer.0.crossattention.self.query.bias",
      "captioner.text_decoder.bert.encoder.layer.0.crossattention.self.query.weight",
      "captioner.text_decoder.bert.encoder.layer.1.crossattention.self.query.bias",
      "captioner.text_decoder.bert.encoder.layer.1.crossattention.self.query.weight",
      "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_q.weight",
      "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_q.weight",
      "unet.up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_q.weight",
      "unet.up_blocks.1.attentions.1.transformer_blocks.0.attn2.to_q.weight"};
  EXPECT_EQ(gradients_of(Selection::kXattnQ, Selection::kXattnQ, /*even=*/true), expected);
  EXPECT_EQ(gradients_of(Selection::kXattnQ, Selection::kXattnQ, /*even=*/false), expected);
}

// The reconstruction is what teaches the other model: with its weight at zero the captioner gets nothing from even
// steps and the generator nothing from odd ones; with a frozen one in between it still reaches the other.
TEST(UnifiedGradients, CrossFromOneModelToTheOtherThroughTheReconstructionOnly) {
  UnifiedOptions apart;
  apart.lm_weight = apart.diffusion_weight = 0;
  for (const std::string& name : gradients_of(Selection::kXattnQ, Selection::kXattnQ, true, apart)) {
    EXPECT_TRUE(name.starts_with("unet.")) << name;
  }
  for (const std::string& name : gradients_of(Selection::kXattnQ, Selection::kXattnQ, false, apart)) {
    EXPECT_TRUE(name.starts_with("captioner.")) << name;
  }
  EXPECT_EQ(gradients_of(Selection::kXattnQ, Selection::kNone, false).size(), 4u);
  EXPECT_EQ(gradients_of(Selection::kNone, Selection::kXattnQ, true).size(), 4u);
}

// With a frozen captioner an estimate that is read teaches the UNet more than L_diff does.
TEST(UnifiedGradients, ReadingTeachesTheGeneratorThroughAFrozenCaptioner) {
  const Case test{"unified-logits", description()["cases"]["unified-logits"], golden()};
  const auto query_gradient = [&](double lm_weight) {
    const Tiny tiny;
    UnifiedOptions options;
    options.lm_weight = lm_weight;
    const UnifiedObjective objective(
        tiny.models(test["map"], generate::NoiseSchedule::from_config(description()["schedule"])), options);
    const auto parameters = tiny.trained(Selection::kNone, Selection::kXattnQ);
    const AdamW leaves(parameters, {});
    objective.text_cycle(test.text_cycle(tiny, objective, 0)).total.backward();
    return parameters.begin()->second.grad().clone();
  };
  const at::Tensor alone = query_gradient(0), read = query_gradient(1);
  EXPECT_GT((read - alone).norm().item<double>(), 1e-3 * alone.norm().item<double>());
}

TEST(UnifiedObjective, EstimatesOutsideTheTimestepRangeAreNotRead) {
  const Case test{"unified-logits", description()["cases"]["unified-logits"], golden()};
  const Tiny tiny;
  const auto lm = [&](TimestepRange range) {
    UnifiedOptions options;
    options.read_timesteps = range;
    const UnifiedObjective objective(
        tiny.models(test["map"], generate::NoiseSchedule::from_config(description()["schedule"])), options);
    TextCycleBatch batch = test.text_cycle(tiny, objective, 0);
    batch.timesteps = at::tensor({200, 800}, at::kLong);
    return objective.text_cycle(batch).lm.item<double>();
  };
  const double early = lm({0, 500}), late = lm({501, 999}), none = lm({300, 400});
  EXPECT_NEAR(early + late, lm({0, 999}), 1e-4 * (early + late));
  EXPECT_GT(early, 0);
  EXPECT_GT(late, 0);
  EXPECT_EQ(none, 0);
}

// The UNet may rest while a picture is read and when soft tokens have their gradient, the captioner while the UNet
// works.
TEST(UnifiedObjective, SaysWhenModelsMayLeaveMemory) {
  const Case test{"unified-logits", description()["cases"]["unified-logits"], golden()};
  const Tiny tiny;
  UnifiedModels models = tiny.models(test["map"], generate::NoiseSchedule::from_config(description()["schedule"]));
  std::vector<Part> released;
  models.release = [&released](Part part) { released.push_back(part); };
  const UnifiedObjective objective(models, {});
  const AdamW leaves(tiny.trained(Selection::kXattnQ, Selection::kXattnQ), {});
  const UnifiedLoss odd = objective.image_cycle(test.image_cycle(tiny, 1));
  EXPECT_EQ(released, (std::vector{Part::kCaptioner, Part::kTextEncoder}));
  odd.total.backward();
  EXPECT_EQ(released.back(), Part::kUnet);
  released.clear();
  const UnifiedLoss even = objective.text_cycle(test.text_cycle(tiny, objective, 0));
  EXPECT_EQ(released, std::vector{Part::kUnet});
  even.total.backward();
  EXPECT_EQ(released.back(), Part::kCaptioner);
}

// What a caption's soft text is, once its probabilities are certain: the encoder's states of the very caption.
TEST(UnifiedObjective, CertainLogitsReadAsTheCaption) {
  const Tiny tiny;
  const at::Tensor map = at::arange(196, at::kLong).clamp_max(119);  // the first 120 ids are the captioner's
  const UnifiedObjective objective(tiny.models(map, generate::NoiseSchedule::from_config(description()["schedule"])),
                                   {});
  // begin, three of the prompt, 20 21 22, end, and a row with one token less and padding
  const at::Tensor labels =
      at::tensor({-100, -100, -100, -100, 20, 21, 22, 3, -100, -100, -100, -100, 30, 31, 3, -100}, at::kLong)
          .view({2, 8});
  at::Tensor logits = at::zeros({2, 8, 120});
  for (int64_t row = 0; row < 2; ++row) {
    for (int64_t place = 0; place + 1 < 8; ++place) {
      const int64_t next = labels[row][place + 1].item<int64_t>();
      if (next >= 0) logits[row][place][next] = 1000;
    }
  }
  at::Tensor ids = at::full({2, 16}, 195, at::kLong);
  ids.select(1, 0).fill_(194);
  ids[0].narrow(0, 1, 3).copy_(at::tensor({20, 21, 22}, at::kLong));
  ids[1].narrow(0, 1, 2).copy_(at::tensor({30, 31}, at::kLong));
  c10::NoGradGuard no_grad;
  const at::Tensor soft =
      objective.soft_text(logits.slice(1, kKnown - 1).to(test_device()), labels.slice(1, kKnown - 1).to(test_device()));
  const at::Tensor difference = soft - text_states_of(objective.models(), ids.to(test_device()));
  EXPECT_LT(difference.abs().max().item<double>(), 1e-4);
}

}  // namespace
}  // namespace readback::train
