// Pictures by a repository of Stable Diffusion's family, as diffusers' pipeline gives them: Stable Diffusion 1.x, 2.x,
// XL, their Turbo versions, latent consistency models.
#pragma once
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "readback/checkpoint/repository.h"
#include "readback/generate/generator.h"
#include "readback/generate/safety.h"
#include "readback/generate/sampler.h"
#include "readback/generate/stable_diffusion_index.h"
#include "readback/generate/text_encoder.h"
#include "readback/models/part.h"
#include "readback/models/stable_diffusion/unet.h"
#include "readback/models/stable_diffusion/vae.h"

namespace readback::generate {

class StableDiffusion final : public Generator {
 public:
  // A diffusers folder with model_index.json, tokenizer, text_encoder, unet, vae and scheduler, for XL a second
  // tokenizer and text_encoder; its safety checker is used when it has one. Errors: CheckpointError, also when a part
  // is of another class.
  StableDiffusion(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype);

  // As many requests at once as suit the machine. Noise is drawn in fp32 on the CPU from the stream (seed, sample,
  // candidate); what an ancestral scheduler adds comes from a stream of its own, so that a picture does not depend on
  // its batch.
  std::vector<Result<Picture>> generate(std::span<const Request> requests, const GenerationOptions& options,
                                        const Context& context = {}) override;
  std::vector<Result<double>> denoising_errors(std::span<const image::Image* const> images,
                                               std::span<const std::string> prompts,
                                               const Context& context = {}) override;
  std::string description() const override { return description_; }
  std::string identity() const override { return identity_; }
  Capabilities capabilities() const override;
  // The repository's scheduler and size; steps and guidance as step_defaults() says.
  GenerationOptions defaults() const override;
  std::string defaults_rule() const override { return step_defaults_.rule; }

 private:
  StableDiffusion(const checkpoint::Repository& repository, ModelIndex index, c10::Device device,
                  c10::ScalarType dtype);
  bool is_guided(const GenerationOptions& options) const;  // by comparison with the negative prompt
  TextStates read_texts(std::span<const Request> requests, const GenerationOptions& options) const;
  models::UnetConditions conditions(const TextStates& texts, const GenerationOptions& options) const;
  at::Tensor initial_noise(std::span<const Request> requests, const GenerationOptions& options) const;
  void denoise(std::span<const Request> requests, const GenerationOptions& options, const TextStates& texts,
               const at::Tensor& latents, const Context& context) const;
  // Calls work(first, last) on shares of 0 … count - 1 that suit the machine; each has `positions` latent positions.
  void in_shares(int64_t count, int64_t positions, const std::function<void(int64_t, int64_t)>& work) const;
  at::Tensor latents_of(std::span<const image::Image* const> images) const;
  void tell(const SamplerStep& step, std::span<const Request> requests, const Context& context) const;
  std::vector<Picture> draw(std::span<const Request> requests, const GenerationOptions& options,
                            const Context& context) const;

  const StableDiffusionKind& kind_;
  std::string description_, identity_;
  c10::Device device_;
  nlohmann::json scheduler_config_;
  StepDefaults step_defaults_;
  bool zeros_for_empty_prompt_;  // an empty negative prompt is read as zeros
  TextEncoder text_encoder_;
  models::Part<models::Unet> unet_;
  models::Part<models::Vae> vae_;
  std::optional<Safety> safety_;  // none when the repository has no checker
};

}  // namespace readback::generate
