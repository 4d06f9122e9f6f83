// What a repository of Stable Diffusion's family says that it is, and whether its parts fit together.
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "readback/checkpoint/repository.h"
#include "readback/generate/model_index.h"

namespace readback::generate {

// One of diffusers' pipelines, with its defaults.
struct StableDiffusionKind {
  const char* pipeline;  // its class
  const char* label;     // for people
  int64_t num_inference_steps;
  double guidance_scale;
  bool is_xl = false;               // two text encoders, a UNet that is told sizes, the VAE in float32 where it says so
  bool is_told_guidance = false;    // always by its UNet, never by comparison with another text
  bool corrects_scheduler = false;  // pipeline_scheduler_config()
};

inline constexpr StableDiffusionKind kStableDiffusionKinds[] = {
    {.pipeline = "StableDiffusionPipeline",
     .label = "Stable Diffusion",
     .num_inference_steps = 50,
     .guidance_scale = 7.5,
     .corrects_scheduler = true},
    {.pipeline = "LatentConsistencyModelPipeline",
     .label = "Latent consistency model",
     .num_inference_steps = 4,
     .guidance_scale = 8.5,
     .is_told_guidance = true},
    {.pipeline = "StableDiffusionXLPipeline",
     .label = "Stable Diffusion XL",
     .num_inference_steps = 50,
     .guidance_scale = 5.0,
     .is_xl = true},
};

const StableDiffusionKind& kind_of(const ModelIndex& index);

// The index of a StableDiffusionPipeline, whose parts are known here and fit together. Errors: CheckpointError.
ModelIndex stable_diffusion_index(const checkpoint::Repository& repository);
// The same of any of kStableDiffusionKinds.
ModelIndex stable_diffusion_family_index(const checkpoint::Repository& repository);

// What is taken where the user leaves steps and guidance open: the pipeline's defaults, but for models that are
// distilled to one step, which diffusers' classes do not tell from others.
struct StepDefaults {
  int64_t num_inference_steps;
  double guidance_scale;
  std::string rule;  // why, for people
};
StepDefaults step_defaults(const StableDiffusionKind& kind, const std::string& repository,
                           const nlohmann::json& scheduler_config);

}  // namespace readback::generate
