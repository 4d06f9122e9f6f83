// The interface that roundtrip/ knows: prompts in, candidate pictures out.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "readback/image/image.h"

namespace readback::generate {

// Names and meaning as in diffusers' StableDiffusionPipeline.
struct GenerationOptions {
  std::string negative_prompt;
  int64_t num_inference_steps = 50;
  double guidance_scale = 7.5;    // <= 1: no guidance, one forward a step
  std::string scheduler;          // pndm, ddim, euler, euler-a, dpm++2m, dpm++2m-karras; empty: scheduler_config.json's
  int64_t height = 0, width = 0;  // pixels; 0: the model's own size
  uint64_t seed = 0;
  bool latents_only = false;  // keep the final latents, decode no picture
};

struct Request {
  std::string prompt;
  std::string sample;     // key of the random stream
  int64_t candidate = 0;  // noise comes from stream (seed, sample, candidate)
  at::Tensor latents;     // optional initial noise, 1 × C × h × w; drawn from the seed when undefined
};

struct Picture {
  image::Image image;            // empty with latents_only
  at::Tensor latents;            // final latents, C × h × w, fp32
  uint64_t seed = 0;             // the derived seed of this candidate's noise
  bool flagged = false;          // by the repository's safety checker; the image is then black, as in diffusers
  int64_t truncated_tokens = 0;  // how many prompt tokens did not fit the text encoder
};

class Generator {
 public:
  virtual ~Generator() = default;
  // One picture per request, in order. Errors: DataError, UsageError.
  virtual std::vector<Picture> generate(std::span<const Request> requests, const GenerationOptions& options) = 0;
  virtual std::string description() const = 0;
};

}  // namespace readback::generate
