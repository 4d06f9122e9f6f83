// From noise to latents: the loop over a scheduler's steps, with classifier-free guidance. Generation and training's
// drafts use it. B samples of c × h × w latents.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "readback/base/random.h"
#include "readback/generate/denoiser.h"
#include "readback/generate/scheduler.h"

namespace readback::generate {

struct SamplerStep {
  int64_t index = 0, count = 0;  // of the network's forwards: 0 … count - 1
  const at::Tensor& latents;     // after this step, fp32 [B, c, h, w]
  // What the network takes the finished latents for at this step, fp32 [B, c, h, w]; computed when it is called.
  std::function<at::Tensor()> estimate;
};

struct SamplerOptions {
  // Scale of classifier-free guidance (https://arxiv.org/abs/2207.12598). The denoiser's context then has 2 B rows:
  // first what is steered away from, such as the negative prompt, then what is wanted. None: B rows, one forward a
  // step.
  std::optional<double> guidance = {};
  // The last forwards that carry gradients, where gradients are recorded at all: DRaFT-K.
  int64_t gradient_steps = std::numeric_limits<int64_t>::max();
  std::vector<Random> streams = {};  // B of them, for the noise that some schedulers add; others need none
  std::function<void(const SamplerStep&)> on_step = {};  // after each step; sampling ends with what it throws
};

// Several threads may use one at once.
class Sampler {
 public:
  // As make_scheduler() takes them; the configuration is the pipeline's (pipeline_scheduler_config()).
  // Errors: UsageError (name, number of steps), CheckpointError (configuration).
  Sampler(std::string scheduler, nlohmann::json scheduler_config, int64_t steps);

  // noise: standard normal [B, c, h, w] → latents, fp32 [B, c, h, w].
  at::Tensor sample(const Denoiser& denoiser, const at::Tensor& noise, const SamplerOptions& options) const;

 private:
  at::Tensor estimate(const Scheduler& scheduler, int64_t index, const at::Tensor& input,
                      const at::Tensor& output) const;

  std::string scheduler_;
  nlohmann::json scheduler_config_;
  int64_t steps_;
};

// Draws of `like`'s shape, device and type, in which each row is the next of its own stream: a sample depends on no
// other.
Scheduler::Noise row_noise(std::vector<Random> streams, const at::Tensor& like);

// Standard normal values of `shape`, fp32 on the CPU.
at::Tensor normal(Random& random, at::IntArrayRef shape);

}  // namespace readback::generate
