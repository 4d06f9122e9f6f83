// Pictures by a Stable Diffusion repository, as diffusers' StableDiffusionPipeline gives them.
#pragma once
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "readback/checkpoint/repository.h"
#include "readback/generate/generator.h"
#include "readback/generate/scheduler.h"
#include "readback/image/preprocess.h"
#include "readback/models/clip/clip.h"
#include "readback/models/stable_diffusion/safety_checker.h"
#include "readback/models/stable_diffusion/unet.h"
#include "readback/models/stable_diffusion/vae.h"
#include "readback/text/tokenizer.h"

namespace readback::generate {

class StableDiffusion final : public Generator {
 public:
  // A diffusers folder with model_index.json, tokenizer, text_encoder, unet, vae and scheduler; its safety checker is
  // used when it has one. Errors: CheckpointError, also when a part is of another class.
  StableDiffusion(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype);

  // As many requests at once as suit the machine. Noise is drawn in fp32 on the CPU from the stream (seed, sample,
  // candidate); what an ancestral scheduler adds comes from a stream of its own, so that a picture does not depend on
  // its batch.
  std::vector<Picture> generate(std::span<const Request> requests, const GenerationOptions& options) override;
  std::string description() const override { return description_; }

 private:
  struct Texts;  // text states of distinct prompts, and which of them each request wants
  Texts encode(std::span<const Request> requests, const std::string& negative_prompt, bool guided) const;
  at::Tensor denoise(std::span<const Request> requests, const GenerationOptions& options, at::Tensor latents,
                     const models::TextContext& context, bool guided) const;
  std::vector<image::Image> decode(const at::Tensor& latents) const;
  std::vector<bool> check(const std::vector<image::Image>& images) const;

  std::string description_;
  c10::Device device_;
  c10::ScalarType dtype_;
  nlohmann::json scheduler_config_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  std::unique_ptr<models::ClipTextModel> text_encoder_;
  std::unique_ptr<models::Unet> unet_;
  int64_t unet_bytes_ = 0;
  std::unique_ptr<models::Vae> vae_;
  std::unique_ptr<models::SafetyChecker> safety_checker_;  // null when the repository has none
  image::PreprocessOptions safety_preprocessing_;
};

}  // namespace readback::generate
