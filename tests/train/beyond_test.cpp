// What goes beyond the paper: anchors, drafts and the policy gradient, as tools/reference/beyond.py computed them with
// transformers and diffusers.
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <functional>
#include <utility>

#include "readback/base/error.h"
#include "readback/generate/scheduler.h"
#include "readback/train/optimizer.h"
#include "unified_golden.h"

namespace readback::train {
namespace {

constexpr int64_t kSteps = 6;

const checkpoint::TensorMap& golden() {
  static const checkpoint::TensorMap values = checkpoint::load_safetensors(kGoldens + "train/beyond.safetensors");
  return values;
}

const nlohmann::json& description() {
  static const nlohmann::json json = read_json(kGoldens + "train/beyond.json");
  return json;
}

Case case_of(const std::string& name) { return {name, description()["cases"][name], golden()}; }

UnifiedOptions options_of(const Case& test) {
  UnifiedOptions options = test.options();
  options.anchor = {.kl = test.json["anchor_kl"], .l2 = test.json["anchor_l2"]};
  if (const int64_t steps = test.json["draft_steps"]; steps > 0) {
    options.reading = Reading::kDraft;
    options.draft = {steps, test.json["draft_gradient_steps"], test.json["draft_guidance"]};
  }
  options.policy.weight = test.json["policy_weight"];
  return options;
}

UnifiedModels models_of(const Case& test, const Tiny& tiny) {
  nlohmann::json scheduler = description()["schedule"];
  scheduler["prediction_type"] = test.json["prediction_type"];
  UnifiedModels models = tiny.models(test["map"], generate::NoiseSchedule::from_config(scheduler));
  scheduler["_class_name"] = "DDIMScheduler";
  models.scheduler = generate::pipeline_scheduler_config(scheduler, "ddim");
  return models;
}

// A tiny pair in training, with its start.
struct Training {
  Case test;
  Tiny tiny;
  std::map<std::string, at::Tensor> parameters;
  std::shared_ptr<const models::Blip> start_blip;
  StartingModels start;
  UnifiedObjective objective;

  explicit Training(const std::string& name, const std::function<void(UnifiedOptions&)>& change = {})
      : test(case_of(name)),
        parameters(tiny.trained(test.trained(), test.trained())),
        start(tiny.maker(&start_blip), tiny.blip_weights, tiny.unet.config, tiny.unet_weights, parameters),
        objective(models_of(test, tiny), changed(change), &start) {}
  UnifiedOptions changed(const std::function<void(UnifiedOptions&)>& change) const {
    UnifiedOptions options = options_of(test);
    if (change) change(options);
    return options;
  }

  TextCycleBatch text_cycle(int64_t step) const {
    TextCycleBatch batch = test.text_cycle(tiny, objective, step);
    const at::Tensor empty = at::full({1, 16}, 195, at::TensorOptions(at::kLong).device(test_device()));
    empty.select(1, 0).fill_(194);
    batch.draft = {.noise = Case::draw("draft noise", step, {test.batch(), 4, kLatent, kLatent}),
                   .text = batch.text.text,
                   .empty = text_states_of(objective.models(), empty)};
    return batch;
  }

  at::Tensor rewards(const ImageCycleBatch& batch, int64_t step) const {
    const int64_t samples = test.json["policy_samples"], draws = test.json["policy_draws"];
    const NoiseDraws noise{.latents = batch.latents,
                           .noise = Case::draw("policy noise", step, {test.batch() * draws, 4, kLatent, kLatent}),
                           .timesteps = test.at_step(step, "sampled_timesteps")};
    const UnifiedModels& models = objective.models();
    const at::Tensor texts = text_states_of(models, test.at_step(step, "sampled_text"));
    const at::Tensor pictures = at::arange(test.batch(), at::kLong).repeat_interleave(samples).to(test_device());
    const at::Tensor errors = denoising_errors(models.unet, models.schedule, noise, texts, pictures);
    return test.json["given_weight"].get<double>() * test.at_step(step, "given_rewards") -
           errors.view({test.batch(), samples});
  }

  ImageCycleBatch image_cycle(int64_t step) const {
    ImageCycleBatch batch = test.image_cycle(tiny, step);
    if (test.json["policy_weight"] == 0) return batch;
    const at::Tensor reward = rewards(batch, step), truth = test.at_step(step, "rewards");
    EXPECT_LE((reward - truth).abs().max().item<double>(), 1e-5 * truth.abs().max().item<double>());
    at::Tensor advantages = leave_one_out(reward);
    if (test.json["policy_scale"] == "batch") advantages = advantages / advantages.square().mean().sqrt();
    batch.policy = {behind_prompt(test.at_step(step, "sampled_ids"), test.at_step(step, "sampled_labels")), advantages};
    return batch;
  }

  UnifiedLoss loss(int64_t step) const {
    UnifiedLoss loss =
        step % 2 == 0 ? objective.text_cycle(text_cycle(step)) : objective.image_cycle(image_cycle(step));
    const double l2 = test.json["anchor_l2"];
    if (l2 > 0) loss.total = loss.total + l2 * start.half_squared_distance();
    return loss;
  }
};

class BeyondParity : public testing::TestWithParam<const char*> {};

TEST_P(BeyondParity, SixMicroStepsHaveTheReferencesLossesAndGradients) {
  const Training training(GetParam());
  const Case& test = training.test;
  AdamWOptions adamw;
  adamw.clip_norm = test.json["clip_norm"];
  AdamW optimizer(training.parameters, adamw);
  ASSERT_EQ(test.gradients(), training.parameters.size());
  for (int64_t step = 0; step < kSteps; ++step) {
    const UnifiedLoss loss = training.loss(step);
    const at::Tensor expected = test["losses"][step];
    const at::Tensor parts[] = {loss.total, loss.diffusion, loss.lm, loss.anchor.defined() ? loss.anchor : loss.policy};
    for (int64_t i = 0; i < 4; ++i) {
      const double value = parts[i].defined() ? parts[i].item<double>() : 0, truth = expected[i].item<double>();
      // What is beyond the paper is a difference of nearly equal numbers.
      const double tolerance = i < 3 ? 1e-4 * std::abs(truth) : 2e-3 * std::abs(truth) + 1e-9;
      EXPECT_NEAR(value, truth, tolerance) << "step " << step << ", part " << i;
    }
    (loss.total / 2).backward();
    if (step % 2 == 0) continue;
    expect_gradients(training.parameters, test, step / 2);
    optimizer.step(1e-2);
    optimizer.zero_grad();
  }
}

INSTANTIATE_TEST_SUITE_P(Train, BeyondParity,
                         testing::Values("anchor", "anchor-alone", "draft-last", "draft-all", "draft-guided", "policy",
                                         "policy-scaled"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

double norm_of_gradients(const std::map<std::string, at::Tensor>& parameters) {
  double whole = 0;
  for (const auto& [key, parameter] : parameters) {
    if (parameter.grad().defined()) whole = std::hypot(whole, parameter.grad().norm().item<double>());
  }
  return whole;
}

TEST(Anchor, IsZeroAtTheStartWithoutGradientAndGrowsFromThere) {
  const Training training("anchor-alone");
  AdamW optimizer(training.parameters, {});
  const auto anchors = [&] {
    return std::vector<at::Tensor>{training.objective.text_cycle(training.text_cycle(0)).anchor,
                                   training.objective.image_cycle(training.image_cycle(1)).anchor,
                                   training.start.half_squared_distance()};
  };
  for (const at::Tensor& anchor : anchors()) {
    EXPECT_LT(std::abs(anchor.item<double>()), 1e-12);
    anchor.backward();
    EXPECT_LT(norm_of_gradients(training.parameters), 1e-6);
    optimizer.zero_grad();
  }
  {
    c10::NoGradGuard no_grad;
    for (const auto& [key, parameter] : training.parameters) parameter.add_(0.05 * at::ones_like(parameter));
  }
  for (const at::Tensor& anchor : anchors()) {
    EXPECT_GT(anchor.item<double>(), 0);
    anchor.backward();
    EXPECT_GT(norm_of_gradients(training.parameters), 0);
    optimizer.zero_grad();
  }
}

TEST(Anchor, StartingModelsShareWhatIsNotTrained) {
  const Training training("anchor");
  const auto shares = [](const at::Tensor& a, const at::Tensor& b) { return a.data_ptr() == b.data_ptr(); };
  const models::Blip &tuned = *training.tiny.blip, &start = *training.start_blip;
  EXPECT_TRUE(shares(start.vision_model.patch_embedding.weight, tuned.vision_model.patch_embedding.weight));
  EXPECT_TRUE(shares(start.text_decoder.layers[0].crossattention.key.weight,
                     tuned.text_decoder.layers[0].crossattention.key.weight));
  EXPECT_FALSE(shares(start.text_decoder.layers[0].crossattention.query.weight,
                      tuned.text_decoder.layers[0].crossattention.query.weight));
  EXPECT_TRUE(shares(training.start.unet().conv_in.weight, training.tiny.unet.conv_in.weight));
}

TEST(Anchor, NeedsTheStart) {
  const Training training("anchor");
  EXPECT_THROW(UnifiedObjective(models_of(training.test, training.tiny), options_of(training.test)), UsageError);
}

// The gradient of the drawn latents' sum with respect to the noise that they begin as and to the last layer's weight.
std::pair<at::Tensor, at::Tensor> draft_gradients(const DraftOptions& options) {
  const Training training("draft-all");
  DraftBatch batch = training.text_cycle(0).draft;
  at::Tensor weight = training.tiny.unet.conv_out.weight;
  weight.requires_grad_(true);
  batch.noise.requires_grad_(true);
  draft(training.tiny.unet, training.objective.models().scheduler, batch, options).sum().backward();
  return {batch.noise.grad(), weight.grad()};
}

TEST(Draft, OnlyTheLastStepsCarryGradients) {
  EXPECT_TRUE(draft_gradients({4, 4, 1}).first.defined());
  EXPECT_FALSE(draft_gradients({4, 3, 1}).first.defined());
  EXPECT_FALSE(draft_gradients({4, 1, 1}).first.defined());
  const at::Tensor one = draft_gradients({4, 1, 1}).second, two = draft_gradients({4, 2, 1}).second,
                   all = draft_gradients({4, 4, 1}).second;
  for (const auto& [fewer, more] : {std::pair(one, two), std::pair(two, all)}) {
    EXPECT_GT((more - fewer).norm().item<double>(), 1e-3 * fewer.norm().item<double>());
  }
}

// Through all steps the gradient is the derivative of what is drawn.
TEST(Draft, GradientsThroughAllStepsAreTheDerivative) {
  const Training training("draft-all");
  const DraftBatch batch = training.text_cycle(0).draft;
  const at::Tensor weight = training.tiny.unet.conv_out.weight, slope = draft_gradients({4, 4, 2}).second;
  const auto sum_along = [&](double distance) {
    c10::NoGradGuard no_grad;
    const at::Tensor kept = weight.clone();
    weight.add_(slope / slope.norm(), distance);
    const double sum = draft(training.tiny.unet, training.objective.models().scheduler, batch, {4, 4, 2})
                           .to(at::kDouble)
                           .sum()
                           .item<double>();
    weight.copy_(kept);
    return sum;
  };
  const double derivative = (sum_along(1e-2) - sum_along(-1e-2)) / 2e-2, expected = slope.norm().item<double>();
  EXPECT_NEAR(derivative, expected, 1e-2 * expected);
}

// How many steps carry gradients changes the gradient, never the picture; guidance changes it.
TEST(Draft, DrawsTheSamePictureForAllNumbersOfGradientSteps) {
  const Training training("draft-all");
  const auto drawn = [&](const DraftOptions& options) {
    return draft(training.tiny.unet, training.objective.models().scheduler, training.text_cycle(0).draft, options);
  };
  EXPECT_TRUE(at::equal(drawn({4, 1, 1}), drawn({4, 4, 1})));
  EXPECT_FALSE(at::equal(drawn({4, 1, 1}), drawn({4, 1, 2})));
  EXPECT_FALSE(at::equal(drawn({4, 1, 1}), drawn({5, 1, 1})));
  EXPECT_THROW(drawn({4, 0, 1}), UsageError);
  EXPECT_THROW(drawn({4, 5, 1}), UsageError);
  EXPECT_THROW(drawn({0, 1, 1}), UsageError);
}

TEST(Draft, IsNotForThePapersObjective) {
  EXPECT_THROW(Training("draft-last", [](UnifiedOptions& options) { options.objective = Objective::kPaper; }),
               UsageError);
}

TEST(PolicyGradient, AdvantagesOfAnImageAddUpToZero) {
  const at::Tensor rewards = at::tensor({1.0, 2.0, 6.0, 5.0, 5.0, 5.0}, at::kFloat).view({2, 3});
  const at::Tensor advantages = leave_one_out(rewards);
  EXPECT_TRUE(at::allclose(advantages, at::tensor({-3.0, -1.5, 4.5, 0.0, 0.0, 0.0}, at::kFloat).view({2, 3})));
  EXPECT_LT(advantages.sum(1).abs().max().item<double>(), 1e-6);
}

TEST(PolicyGradient, EqualRewardsTeachNothingAndBetterOnesRaiseTheirCaption) {
  const Training training("policy");
  AdamW optimizer(training.parameters, {});
  ImageCycleBatch batch = training.image_cycle(1);
  const auto gradient = [&](const at::Tensor& rewards) {
    optimizer.zero_grad();
    batch.policy.advantages = leave_one_out(rewards).to(test_device());
    training.objective.image_cycle(batch).policy.backward();
    return norm_of_gradients(training.parameters);
  };
  EXPECT_EQ(gradient(at::full({2, 3}, 1.7)), 0);
  const at::Tensor one_better = at::zeros({2, 3});
  one_better[1][2] = 1;
  EXPECT_GT(gradient(one_better), 0);

  const auto surprise = [&](const at::Tensor& weights) {  // of the captions, each by its weight
    c10::NoGradGuard no_grad;
    batch.policy.advantages = weights.to(test_device());
    return training.objective.image_cycle(batch).policy.item<double>();
  };
  const double before = surprise(one_better);
  optimizer.step(1e-2);
  EXPECT_LT(surprise(one_better), before);
}

// Sampled captions are the captioner's own doing: the reward is a number, and the generator learns nothing from it.
TEST(PolicyGradient, LeavesTheGeneratorAlone) {
  const Training training("policy");
  const AdamW leaves(training.parameters, {});
  const ImageCycleBatch batch = training.image_cycle(1);
  EXPECT_FALSE(batch.policy.advantages.requires_grad());
  training.objective.image_cycle(batch).policy.backward();
  for (const auto& [key, parameter] : training.parameters) {
    const bool learns = parameter.grad().defined() && parameter.grad().norm().item<double>() > 0;
    EXPECT_EQ(learns, key.starts_with("captioner.")) << key;
  }
}

}  // namespace
}  // namespace readback::train
