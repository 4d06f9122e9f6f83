// Ten micro-steps of DPO, GRPO and Diffusion-DPO, as tools/reference/preference.py took them: the first two by TRL's
// own functions.
#include "readback/train/preference.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include "readback/generate/denoiser.h"
#include "readback/generate/denoising_error.h"
#include "readback/train/optimizer.h"
#include "unified_golden.h"

namespace readback::train {
namespace {

constexpr int64_t kSteps = 10, kPairs = 3, kImages = 2, kPictures = 2;

const checkpoint::TensorMap& golden() {
  static const checkpoint::TensorMap values = checkpoint::load_safetensors(kGoldens + "train/preference.safetensors");
  return values;
}

const nlohmann::json& description() {
  static const nlohmann::json json = read_json(kGoldens + "train/preference.json");
  return json;
}

// A stored tensor of all steps, at one of them, where the models are.
at::Tensor at_step(const std::string& key, int64_t step) { return golden().at(key)[step].to(test_device()); }

void expect_near(const at::Tensor& value, const at::Tensor& truth, const std::string& what, double relative = 1e-4,
                 double absolute = 1e-6) {
  const at::Tensor got = value.detach().cpu().to(at::kDouble), expected = truth.cpu().to(at::kDouble);
  ASSERT_EQ(got.sizes(), expected.sizes()) << what;
  EXPECT_TRUE(at::allclose(got, expected, relative, absolute)) << what << ": " << got << " instead of " << expected;
}

// A tiny pair in training, with its start.
struct Training {
  Case test;
  Tiny tiny;
  bool captioner;
  std::map<std::string, at::Tensor> parameters;
  StartingModels start;

  explicit Training(const std::string& name)
      : test{name, description()["cases"][name], golden()},
        captioner(test.json["method"] != "diffusion_dpo"),
        parameters(
            tiny.trained(captioner ? test.trained() : Selection::kNone, captioner ? Selection::kNone : test.trained())),
        start(tiny.maker(), tiny.blip_weights, tiny.unet.config, tiny.unet_weights, parameters) {}

  at::Tensor stored(const std::string& what, int64_t step) const { return test[what][step]; }
};

at::Tensor log_probabilities(const caption::TokenCaptioner& captioner, const at::Tensor& pixels, const at::Tensor& ids,
                             const at::Tensor& labels) {
  const CaptionBatch captions = behind_prompt(ids, labels);
  const caption::Pictures images = repeated(one_each(captioner.patches(pixels)), ids.size(0) / pixels.size(0));
  return token_log_probabilities(captioner.logits(images, captions.texts), captions.labels);
}

at::Tensor dpo_micro_step(const Training& training, int64_t step) {
  const nlohmann::json& json = training.test.json;
  const at::Tensor pixels = Case::draw("blip pixels", step, {kPairs, 3, kReaderSize, kReaderSize});
  const auto sums = [&](const caption::TokenCaptioner& captioner) {
    const auto of = [&](const std::string& which) {
      return log_probabilities(captioner, pixels, at_step("pairs." + which + "_ids", step),
                               at_step("pairs." + which + "_labels", step))
          .sum(1);
    };
    return Compared{of("chosen"), of("rejected")};
  };
  const auto tokens = [&](const std::string& which) {
    return at_step("pairs." + which + "_labels", step).slice(1, 1).ge(0).sum(1);
  };
  const Compared model = sums(training.tiny.captioner);
  Compared reference;
  {
    c10::NoGradGuard no_grad;
    reference = sums(training.start.captioner());
  }
  expect_near(at::stack({model.chosen, model.rejected, reference.chosen, reference.rejected}),
              training.stored("logps", step), "log-probabilities of step " + std::to_string(step));
  const DpoOptions options{.loss = json["loss_type"] == "ipo" ? DpoLoss::kIpo : DpoLoss::kSigmoid,
                           .beta = json["beta"],
                           .label_smoothing = json["label_smoothing"]};
  return dpo_loss(model, reference, {tokens("chosen"), tokens("rejected")}, options);
}

GrpoOptions grpo_options(const nlohmann::json& json) {
  GrpoOptions options{.clip = json["epsilon"], .clip_high = json["epsilon_high"], .kl = json["beta"]};
  options.scale = json["scale_rewards"] == "group" ? RewardScale::kGroup : RewardScale::kNone;
  options.average = json["loss_type"] == "grpo"   ? GrpoAverage::kCaption
                    : json["loss_type"] == "bnpo" ? GrpoAverage::kToken
                                                  : GrpoAverage::kLength;
  options.max_length = json["max_completion_length"];
  return options;
}

at::Tensor grpo_micro_step(const Training& training, int64_t step) {
  const GrpoOptions options = grpo_options(training.test.json);
  const int64_t group = description()["groups"][step];
  const at::Tensor pixels = Case::draw("blip pixels", group, {kImages, 3, kReaderSize, kReaderSize});
  const at::Tensor ids = at_step("groups.ids", group), labels = at_step("groups.labels", group);
  const at::Tensor advantages = group_advantages(at_step("groups.rewards", group), options.scale);
  expect_near(advantages, training.stored("advantages", group), "advantages");
  TokenLogProbabilities tokens{.model = log_probabilities(training.tiny.captioner, pixels, ids, labels),
                               .old = training.stored("old", group).slice(1, kKnown - 1).to(test_device())};
  if (options.kl > 0) {
    c10::NoGradGuard no_grad;
    tokens.reference = log_probabilities(training.start.captioner(), pixels, ids, labels);
  }
  const GrpoLoss loss = grpo_loss(tokens, advantages.flatten(), labels.slice(1, kKnown).ge(0), options);
  const at::Tensor parts = training.stored("losses", step);  // loss, kl, clipped low, high, both
  if (options.kl > 0) expect_near(loss.divergence, parts[1], "divergence of step " + std::to_string(step));
  expect_near(loss.clipped, parts[4], "clipped share of step " + std::to_string(step));
  return loss.total;
}

at::Tensor diffusion_dpo_micro_step(const Training& training, int64_t step) {
  const Tiny& tiny = training.tiny;
  nlohmann::json scheduler = description()["schedule"];
  scheduler["prediction_type"] = training.test.json["prediction_type"];
  const UnifiedModels models =
      tiny.models(at::zeros({196}, at::kLong), generate::NoiseSchedule::from_config(scheduler));
  const auto latents = [&](const std::string& side) {
    return tiny.latents(Case::draw(side + " pixels", step, {kPictures, 3, kSize, kSize}).clamp(-1, 1),
                        Case::draw(side + " posterior noise", step, {kPictures, 4, kLatent, kLatent}));
  };
  const at::Tensor noise = Case::draw("noise", step, {kPictures, 4, kLatent, kLatent});
  const at::Tensor t = golden().at("pictures.timesteps")[step];
  const at::Tensor text = text_states_of(models, at_step("pictures.text_ids", step));
  const at::Tensor chosen = latents("winner"), rejected = latents("loser");
  const auto errors = [&](const models::Unet& unet) {
    const auto error = [&](const at::Tensor& z) {
      return denoising_error(generate::UnetDenoiser(unet, text), models.schedule,
                             {.latents = z, .noise = noise, .timesteps = t});
    };
    return Compared{error(chosen), error(rejected)};
  };
  const Compared model = errors(tiny.unet);
  Compared reference;
  {
    c10::NoGradGuard no_grad;
    reference = errors(training.start.unet());
  }
  expect_near(at::stack({model.chosen, model.rejected, reference.chosen, reference.rejected}),
              training.stored("errors", step), "errors of step " + std::to_string(step));
  return diffusion_dpo_loss(model, reference, training.test.json["beta"]);
}

class PreferenceParity : public testing::TestWithParam<const char*> {};

TEST_P(PreferenceParity, TenMicroStepsHaveTheReferencesLossesAndGradients) {
  const Training training(GetParam());
  const nlohmann::json& json = training.test.json;
  AdamWOptions adamw;
  adamw.clip_norm = json["clip_norm"];
  AdamW optimizer(training.parameters, adamw);
  ASSERT_EQ(training.test.gradients(), training.parameters.size());
  for (int64_t step = 0; step < kSteps; ++step) {
    const at::Tensor loss = json["method"] == "dpo"    ? dpo_micro_step(training, step)
                            : json["method"] == "grpo" ? grpo_micro_step(training, step)
                                                       : diffusion_dpo_micro_step(training, step);
    expect_near(loss, training.stored("losses", step)[0], "loss of step " + std::to_string(step));
    (loss / 2).backward();
    if (step % 2 == 0) continue;
    expect_gradients(training.parameters, training.test, step / 2);
    optimizer.step(json["learning_rate"]);
    optimizer.zero_grad();
  }
}

INSTANTIATE_TEST_SUITE_P(Train, PreferenceParity,
                         testing::Values("dpo", "dpo-qkv", "cdpo", "ipo", "grpo", "grpo-kl", "dr-grpo", "dr-grpo-kl",
                                         "bnpo", "diffusion-epsilon", "diffusion-velocity"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(GroupAdvantages, AreZeroWhereRewardsAreEqual) {
  const at::Tensor rewards = at::full({2, 4}, 0.3);
  EXPECT_EQ(group_advantages(rewards, RewardScale::kGroup).abs().max().item<double>(), 0);
  const at::Tensor scaled = group_advantages(at::tensor({1.0, 2.0, 3.0}).unsqueeze(0), RewardScale::kGroup);
  EXPECT_NEAR(scaled[0][2].item<double>(), 1, 1e-3);
}

}  // namespace
}  // namespace readback::train
