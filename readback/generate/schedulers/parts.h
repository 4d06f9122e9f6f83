// What the schedulers share. Private to generate/.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "readback/checkpoint/config_reader.h"
#include "readback/generate/noise_schedule.h"
#include "readback/generate/scheduler.h"
#include "readback/generate/schedulers/table.h"

namespace readback::generate {

// `count` numbers from `start` to `stop`, as numpy.linspace.
std::vector<double> linspace(double start, double stop, int64_t count);
// values[0 … ] at fractional places, clamped at both ends, as numpy.interp over numpy.arange.
std::vector<double> interpolate(const std::vector<double>& places, const std::vector<float>& values);

// Table 2 of https://arxiv.org/abs/2305.08891: `points` timesteps on 0 … last - 1, descending.
struct Spacing {
  std::string kind;  // linspace (unrounded), leading, trailing
  int64_t steps_offset = 0;
  Spacing(checkpoint::ConfigReader& config, const char* default_kind);
  std::vector<double> operator()(int64_t last, int64_t points, double trailing_ratio) const;
};

// Karras et al., https://arxiv.org/abs/2206.00364, equation 5 with ρ = 7: `count` noise levels from high to low.
std::vector<double> karras_sigmas(double high, double low, int64_t count);
// The training timestep, with its fraction, at which the noise level is `sigma`.
double timestep_of_sigma(double sigma, const std::vector<float>& sigmas);
// What follows the last forward: 0, or the least training noise level with final_sigmas_type "sigma_min".
float final_sigma(checkpoint::ConfigReader& config, const std::vector<float>& training_sigmas);

// The place of a sample on the variance-preserving path: x = signal · x_0 + spread · ε.
struct Level {
  float signal, spread;
  static Level of_alpha(float alpha_cumprod);  // ᾱ
  static Level of_sigma(float sigma);          // spread / signal
  float lambda() const;                        // log(signal / spread)

  // What the network's output for `sample` says of x_0 and of ε.
  at::Tensor clean(Prediction prediction, const at::Tensor& output, const at::Tensor& sample) const;
  at::Tensor noise(Prediction prediction, const at::Tensor& output, const at::Tensor& sample) const;
};

// Timesteps and noise levels of the multistep solvers DPM-Solver and UniPC.
class MultistepSolver : public Scheduler {
 protected:
  // `usable`: how many of the training timesteps, the least noisy first, are looked at.
  void read_levels(checkpoint::ConfigReader& config, int64_t steps, int64_t usable, bool rounds_karras);
  Level level(size_t index) const { return Level::of_sigma(sigmas_[index]); }
};

std::vector<float> to_float(const std::vector<double>& values);
// ᾱ_t. Errors: UsageError where a timestep lies beyond the schedule (too many steps for its offset).
float alpha_at(const std::vector<float>& alphas_cumprod, int64_t timestep);
std::vector<float> to_vector(const at::Tensor& values);

}  // namespace readback::generate
