// The tiny models, batches and comparisons of the tests that follow tools/reference/unified.py and beyond.py.
#pragma once
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "../device.h"
#include "readback/base/files.h"
#include "readback/base/random.h"
#include "readback/caption/blip_captioner.h"
#include "readback/checkpoint/repository.h"
#include "readback/train/batches.h"
#include "readback/train/trained_parameters.h"
#include "readback/train/unified_objective.h"
#include "tests/source_dir.h"

namespace readback::train {

inline const std::string kGoldens = tests::source_dir().string() + "/tests/goldens/";
constexpr int64_t kSize = 40, kLatent = 20, kReaderSize = 32, kUnknown = 1;

inline nn::Weights load(const std::string& folder, const std::string& part = "") {
  checkpoint::TensorMap tensors = checkpoint::Repository(kGoldens + folder).tensors(part);
  for (auto& [key, tensor] : tensors) tensor = tensor.clone();
  return nn::Weights(std::move(tensors), test_device(), at::kFloat, folder + part);
}

inline checkpoint::ConfigReader config(const std::string& path) { return {read_json(kGoldens + path), path}; }

// Captions whose begin token and prompt are four tokens.
constexpr int64_t kKnown = 4;
inline CaptionBatch behind_prompt(const at::Tensor& ids, const at::Tensor& labels) {
  return {{.ids = ids, .known = std::vector<int64_t>(static_cast<size_t>(ids.size(0)), kKnown)},
          labels.slice(1, kKnown - 1)};
}

inline caption::BlipCaptioner captioner_of(std::shared_ptr<const models::Blip> model) {
  return caption::BlipCaptioner(caption::BlipCaptioner::Parts{.model = std::move(model)});
}

// The tiny models of the goldens: models/blip and generate/pipeline.
struct Tiny {
  nn::Weights blip_weights = load("models/blip"), text_weights = load("generate/pipeline", "text_encoder"),
              unet_weights = load("generate/pipeline", "unet"), vae_weights = load("generate/pipeline", "vae");
  models::BlipConfig blip_config = models::BlipConfig::read(config("models/blip/config.json"));
  std::shared_ptr<const models::Blip> blip;
  caption::BlipCaptioner captioner;
  models::ClipTextModel text{models::ClipTextConfig::read(config("generate/pipeline/text_encoder/config.json")),
                             text_weights};
  models::Unet unet{models::UnetConfig::read(config("generate/pipeline/unet/config.json")), unet_weights};
  models::Vae vae{models::VaeConfig::read(config("generate/pipeline/vae/config.json")), vae_weights};

  explicit Tiny(double label_smoothing = 0)
      : blip(std::make_shared<models::Blip>(smoothed(label_smoothing), blip_weights)), captioner(captioner_of(blip)) {
    at::set_num_threads(1);  // the models are tiny
    for (const nn::Weights* weights : {&blip_weights, &text_weights, &unet_weights, &vae_weights}) weights->finish();
  }
  models::BlipConfig smoothed(double label_smoothing) {
    blip_config.text.label_smoothing = label_smoothing;
    return blip_config;
  }

  // What is trained, under "captioner." and "unet.".
  std::map<std::string, at::Tensor> trained(Selection captioner, Selection generator) const {
    std::map<std::string, at::Tensor> all;
    for (const auto& [key, tensor] :
         select_parameters(blip_weights.parameters(), tunable("BlipForConditionalGeneration"), captioner)) {
      all["captioner." + key] = tensor;
    }
    for (const auto& [key, tensor] :
         select_parameters(unet_weights.parameters(), tunable("UNet2DConditionModel"), generator)) {
      all["unet." + key] = tensor;
    }
    return all;
  }

  // Captioners of other weights; `made` gets the model of the latest.
  StartingModels::MakeCaptioner maker(std::shared_ptr<const models::Blip>* made = nullptr) const {
    return [config = blip_config, made](const nn::Weights& weights) {
      const auto model = std::make_shared<models::Blip>(config, weights);
      if (made != nullptr) *made = model;
      return std::make_unique<caption::BlipCaptioner>(captioner_of(model));
    };
  }

  at::Tensor latents(const at::Tensor& pixels, const at::Tensor& noise) const {
    c10::NoGradGuard no_grad;
    const models::VaeMoments moments = vae.encode(pixels);
    return (moments.mean + (0.5 * moments.logvar).exp() * noise) * vae.config.scaling_factor;
  }

  UnifiedModels models(const at::Tensor& map, generate::NoiseSchedule schedule, bool clip_sample = false) const {
    return {.captioner = captioner,
            .text_encoder = text,
            .unet = unet,
            .vae = vae,
            .schedule = std::move(schedule),
            .clip_sample = clip_sample,
            .label_smoothing = blip_config.text.label_smoothing,
            .bridge = {map, kUnknown, blip_config.text.vocab_size},
            .framing = {.begin = 194, .end = 195, .padding = 195, .length = 16}};
  }
};

struct Case {
  std::string name;
  nlohmann::json json;
  const checkpoint::TensorMap& golden;

  const at::Tensor& operator[](const std::string& key) const { return golden.at(name + "." + key); }
  // As a task has it: timesteps on the CPU, everything else where the models are.
  at::Tensor at_step(int64_t step, const std::string& key) const {
    const at::Tensor& stored = golden.at(name + "." + std::to_string(step) + "." + key);
    return key.ends_with("timesteps") ? stored : stored.to(test_device());
  }
  int64_t batch() const { return json["batch"]; }
  // Of how many parameters the first update's gradients are stored.
  size_t gradients() const {
    const std::string prefix = name + ".0.gradient.";
    return static_cast<size_t>(
        std::ranges::count_if(golden, [&](const auto& entry) { return entry.first.starts_with(prefix); }));
  }

  Selection trained() const { return parse_enum<Selection>("trained", json["trained"]); }
  UnifiedOptions options() const {
    UnifiedOptions options;
    options.objective = parse_enum<Objective>("objective", json["objective"]);
    options.soft_tokens = parse_enum<SoftTokenVariant>("soft_tokens", json["soft_tokens"]);
    options.temperature = json["temperature"];
    options.lm_weight = json["lm_weight"];
    options.diffusion_weight = json["diffusion_weight"];
    options.snr_gamma = json["snr_gamma"];
    options.read_snr_gamma = json["read_snr_gamma"];
    options.read_timesteps = {json["read_timesteps"][0], json["read_timesteps"][1]};
    return options;
  }

  static at::Tensor draw(const std::string& what, int64_t step, at::IntArrayRef shape) {
    Random random(11, Purpose::kTest, what, static_cast<uint64_t>(step));
    return normal_like(at::empty(shape), random).to(test_device());
  }
  at::Tensor latents(const Tiny& tiny, int64_t step) const {
    return tiny.latents(draw("pixels", step, {batch(), 3, kSize, kSize}).clamp(-1, 1),
                        draw("posterior noise", step, {batch(), 4, kLatent, kLatent}));
  }
  TextCycleBatch text_cycle(const Tiny& tiny, const UnifiedObjective& objective, int64_t step) const {
    return {.latents = latents(tiny, step),
            .noise = draw("noise", step, {batch(), 4, kLatent, kLatent}),
            .timesteps = at_step(step, "timesteps"),
            .text = {.text = text_states_of(objective.models(), at_step(step, "text_ids"))},
            .captions = behind_prompt(at_step(step, "caption_ids"), at_step(step, "caption_labels")),
            .step_noise = draw("step noise", step, {batch(), 4, kLatent, kLatent})};
  }
  ImageCycleBatch image_cycle(const Tiny& tiny, int64_t step) const {
    return {
        .images = one_each(tiny.captioner.patches(draw("blip pixels", step, {batch(), 3, kReaderSize, kReaderSize}))),
        .captions = behind_prompt(at_step(step, "caption_ids"), at_step(step, "caption_labels")),
        .latents = latents(tiny, step),
        .noise = draw("noise", step, {batch() * json["draws"].get<int64_t>(), 4, kLatent, kLatent}),
        .timesteps = at_step(step, "timesteps")};
  }
};

// The gradient's norm, then up to eight of its values, evenly spaced.
inline at::Tensor summary(const at::Tensor& gradient) {
  const at::Tensor values = gradient.cpu().contiguous().flatten();
  const at::Tensor places =
      at::linspace(0, static_cast<double>(values.numel() - 1), std::min<int64_t>(8, values.numel())).to(at::kLong);
  return at::cat({values.norm().unsqueeze(0), values.index_select(0, places)});
}

// `test`'s stored gradients of update `update` against those of `parameters`.
inline void expect_gradients(const std::map<std::string, at::Tensor>& parameters, const Case& test, int64_t update) {
  // A bias that shifts all scores alike has no effect: its gradient is rounding error, which is compared with all.
  double whole = 0;
  for (const auto& [key, parameter] : parameters) whole = std::hypot(whole, parameter.grad().norm().item<double>());
  for (const auto& [key, parameter] : parameters) {
    const std::string name = test.name + "." + std::to_string(update) + ".gradient." + key;
    if (!test.golden.contains(name)) continue;
    const at::Tensor truth = test.golden.at(name), got = summary(parameter.grad());
    ASSERT_EQ(got.sizes(), truth.sizes()) << name;
    const double norm = truth[0].item<double>();
    EXPECT_NEAR(got[0].item<double>(), norm, 1e-3 * norm + 1e-6 * whole) << name;
    // Values at a single place lie below the norm: their errors are compared with the largest that is stored.
    const double largest = truth.slice(0, 1).abs().max().item<double>();
    EXPECT_LE((got - truth).slice(0, 1).abs().max().item<double>(), 1e-3 * largest + 1e-4 * norm + 1e-6 * whole)
        << name;
  }
}

}  // namespace readback::train
