// How much noise a diffusion model's sample carries at each training timestep, as diffusers' schedulers define it.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "readback/checkpoint/config_reader.h"

namespace readback::generate {

// What the network predicts from x_t = √ᾱ_t x_0 + √(1 - ᾱ_t) ε.
enum class Prediction {
  kEpsilon,   // ε
  kSample,    // x_0
  kVelocity,  // v = √ᾱ_t ε - √(1 - ᾱ_t) x_0 (Salimans and Ho, https://arxiv.org/abs/2202.00512)
};

// x̂_0 and ε̂: the parts of `sample` = signal · x_0 + spread · ε by what the network gave for it. Factor: a number, or a
// tensor that multiplies the sample.
template <typename Factor>
at::Tensor predicted_clean(Prediction prediction, const Factor& signal, const Factor& spread, const at::Tensor& sample,
                           const at::Tensor& output) {
  switch (prediction) {
    case Prediction::kEpsilon:
      return (sample - spread * output) / signal;
    case Prediction::kSample:
      return output;
    case Prediction::kVelocity:
      break;
  }
  return signal * sample - spread * output;
}
template <typename Factor>
at::Tensor predicted_noise(Prediction prediction, const Factor& signal, const Factor& spread, const at::Tensor& sample,
                           const at::Tensor& output) {
  switch (prediction) {
    case Prediction::kEpsilon:
      return output;
    case Prediction::kSample:
      return (sample - signal * output) / spread;
    case Prediction::kVelocity:
      break;
  }
  return signal * output + spread * sample;
}

// What a scheduler's class takes where a configuration states no noise: LCM's, unCLIP's and the others'.
struct NoiseDefaults {
  double beta_start = 1e-4, beta_end = 0.02;
  const char* beta_schedule = "linear";
};
inline constexpr NoiseDefaults kLcmNoise = {0.00085, 0.012, "scaled_linear"};
inline constexpr NoiseDefaults kUnclipNoise = {.beta_schedule = "squaredcos_cap_v2"};

// B latents of any shape; timesteps t are int64 [B] (or a single one for all), 0 … steps() - 1.
struct NoiseSchedule {
  at::Tensor alphas_cumprod;  // ᾱ, [steps], fp32, on the CPU
  Prediction prediction = Prediction::kEpsilon;

  // From any diffusers scheduler_config.json. Reads num_train_timesteps, beta_start, beta_end, beta_schedule,
  // trained_betas, rescale_betas_zero_snr and prediction_type; leaves the other keys alone. Errors: CheckpointError.
  static NoiseSchedule from_config(const nlohmann::json& scheduler_config);
  // The same as part of a scheduler that reads its own options from `config`; PNDM has no rescale_betas_zero_snr.
  static NoiseSchedule read(checkpoint::ConfigReader& config, bool can_rescale = true,
                            const NoiseDefaults& defaults = {});

  int64_t steps() const { return alphas_cumprod.numel(); }
  at::Tensor add_noise(const at::Tensor& x0, const at::Tensor& noise, const at::Tensor& t) const;
  at::Tensor velocity(const at::Tensor& x0, const at::Tensor& noise, const at::Tensor& t) const;
  // x̂_0: what `sample` at t is without its noise, when the network gave `output` for it. Infinite where ᾱ is 0 and the
  // network predicts noise.
  at::Tensor clean(const at::Tensor& sample, const at::Tensor& output, const at::Tensor& t) const;
  // ε̂: the noise in `sample` at t by the same output. Infinite where ᾱ is 1 and the network predicts x_0.
  at::Tensor noise_in(const at::Tensor& sample, const at::Tensor& output, const at::Tensor& t) const;
  // ᾱ / (1 - ᾱ), fp32 on the CPU.
  at::Tensor signal_to_noise(const at::Tensor& t) const;
  // What the network is trained to give: noise, x0 or velocity, by `prediction`.
  at::Tensor target(const at::Tensor& x0, const at::Tensor& noise, const at::Tensor& t) const;

  // √((1 - ᾱ) / ᾱ) at each training timestep; a rescaled schedule's last ᾱ of 0 counts as 2⁻²⁴, as in diffusers.
  std::vector<float> sigmas() const;
};

// "squaredcos_cap_v2": β of `steps` timesteps, fp32.
at::Tensor cosine_betas(int64_t steps);

}  // namespace readback::generate
