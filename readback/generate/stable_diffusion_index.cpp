#include "readback/generate/stable_diffusion_index.h"

#include <fmt/format.h>

#include <algorithm>

#include "readback/base/error.h"
#include "readback/models/clip/clip.h"
#include "readback/models/part.h"
#include "readback/models/stable_diffusion/unet.h"
#include "readback/models/stable_diffusion/vae.h"

namespace readback::generate {

namespace {

// By the names of their repositories on the hub.
constexpr const char* kOneStepRepositories[] = {"stabilityai/sd-turbo", "stabilityai/sdxl-turbo"};

void expect_fit(const checkpoint::Repository& repository, const StableDiffusionKind& kind) {
  const auto text = models::ClipTextConfig::read(models::part_config(repository, "text_encoder"));
  const auto unet = models::UnetConfig::read(models::part_config(repository, "unet"));
  const auto vae = models::VaeConfig::read(models::part_config(repository, "vae"));
  const auto expect_equal = [&](const char* what, int64_t one, const std::string& other_what, int64_t other) {
    if (one == other) return;
    throw CheckpointError(
        describe(repository.name(), fmt::format("{} equal to {} ({})", what, other_what, other), std::to_string(one)));
  };
  if (kind.is_xl) {
    const auto second = models::ClipTextConfig::read(models::part_config(repository, "text_encoder_2"));
    expect_equal("the UNet's cross_attention_dim", unet.cross_attention_dim,
                 "the sum of both text encoders' hidden_size", text.hidden_size + second.hidden_size);
    expect_equal("the UNet's projection_class_embeddings_input_dim", unet.projection_class_embeddings_input_dim,
                 "text_encoder_2's projection_dim and six times the UNet's addition_time_embed_dim",
                 second.projection_dim + 6 * unet.addition_time_embed_dim);
  } else {
    expect_equal("the UNet's cross_attention_dim", unet.cross_attention_dim, "the text encoder's hidden_size",
                 text.hidden_size);
    expect_equal("the UNet's projection_class_embeddings_input_dim", unet.projection_class_embeddings_input_dim,
                 std::string("that of a ") + kind.pipeline, 0);
  }
  expect_equal("the UNet's in_channels", unet.in_channels, "the VAE's latent_channels", vae.latent_channels);
  expect_equal("the UNet's out_channels", unet.out_channels, "its in_channels", unet.in_channels);
  if (kind.is_told_guidance && unet.time_cond_proj_dim == 0) {
    throw CheckpointError(describe(repository.name(), "a UNet with time_cond_proj_dim, which is told its guidance",
                                   "one without", "A StableDiffusionPipeline with the scheduler lcm has such a UNet"));
  }
}

ModelIndex checked(const checkpoint::Repository& repository, const std::vector<std::string>& pipelines) {
  ModelIndex index(repository, pipelines);
  const StableDiffusionKind& kind = kind_of(index);
  const std::vector<std::string> tokenizers = {"CLIPTokenizer", "CLIPTokenizerFast"};
  index.expect("tokenizer", tokenizers);
  index.expect("text_encoder", {"CLIPTextModel"});
  if (kind.is_xl) {
    index.expect("tokenizer_2", tokenizers);
    index.expect("text_encoder_2", {"CLIPTextModelWithProjection"});
  }
  index.expect("unet", {"UNet2DConditionModel"});
  index.expect("vae", {"AutoencoderKL"});
  if (index.has("safety_checker")) index.expect("safety_checker", {"StableDiffusionSafetyChecker"});
  expect_fit(repository, kind);
  return index;
}

}  // namespace

const StableDiffusionKind& kind_of(const ModelIndex& index) {
  return *std::ranges::find(kStableDiffusionKinds, index.pipeline(), &StableDiffusionKind::pipeline);
}

ModelIndex stable_diffusion_index(const checkpoint::Repository& repository) {
  return checked(repository, {kStableDiffusionKinds[0].pipeline});
}

ModelIndex stable_diffusion_family_index(const checkpoint::Repository& repository) {
  std::vector<std::string> pipelines;
  for (const StableDiffusionKind& kind : kStableDiffusionKinds) pipelines.emplace_back(kind.pipeline);
  return checked(repository, pipelines);
}

StepDefaults step_defaults(const StableDiffusionKind& kind, const std::string& repository,
                           const nlohmann::json& scheduler_config) {
  constexpr int64_t kSteps = 1;
  constexpr double kGuidance = 0;
  if (std::ranges::find(kOneStepRepositories, repository) != std::end(kOneStepRepositories)) {
    return {kSteps, kGuidance, fmt::format("{} is known: one step without guidance", repository)};
  }
  const auto is = [&](const char* key, const nlohmann::json& value) {
    const auto found = scheduler_config.find(key);
    return found != scheduler_config.end() && *found == value;
  };
  const bool is_euler =
      is("_class_name", "EulerDiscreteScheduler") || is("_class_name", "EulerAncestralDiscreteScheduler");
  // Models with a rescaled schedule look at trailing timesteps too, but need many.
  if (is_euler && is("timestep_spacing", "trailing") && !is("rescale_betas_zero_snr", true)) {
    return {kSteps, kGuidance, "Euler with trailing timesteps, as SD-Turbo has: one step without guidance"};
  }
  return {kind.num_inference_steps, kind.guidance_scale,
          fmt::format("{}'s: {} steps, guidance {}", kind.pipeline, kind.num_inference_steps, kind.guidance_scale)};
}

}  // namespace readback::generate
