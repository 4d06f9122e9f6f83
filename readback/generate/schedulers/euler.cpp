// Euler steps along the probability-flow ODE in noise level σ, plain and ancestral: Karras et al.,
// https://arxiv.org/abs/2206.00364, algorithm 2 without churn, and k-diffusion's sample_euler_ancestral.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "readback/base/error.h"
#include "readback/generate/schedulers/parts.h"

namespace readback::generate {
namespace {

class Euler : public Scheduler {
 public:
  Euler(checkpoint::ConfigReader& config, int64_t steps, bool ancestral) : ancestral_(ancestral) {
    schedule_ = NoiseSchedule::read(config);
    const std::vector<float> training_sigmas = schedule_.sigmas();
    const auto train_steps = config.get<int64_t>("num_train_timesteps", 1000);
    const Spacing space(config, "linspace");
    timesteps_ = to_float(space(train_steps, steps, static_cast<double>(train_steps) / static_cast<double>(steps)));
    std::vector<double> sigmas = interpolate({timesteps_.begin(), timesteps_.end()}, training_sigmas);

    float last = 0;
    if (ancestral) {
      if (schedule_.prediction == Prediction::kSample)
        throw CheckpointError(
            describe(config.where() + ": prediction_type", "epsilon or v_prediction for ancestral sampling", "sample"));
    } else {
      config.expect("interpolation_type", {"linear"});
      config.expect("timestep_type", {"discrete"});
      config.expect("use_exponential_sigmas", {false});
      config.expect("use_beta_sigmas", {false});
      config.expect("sigma_min", {});
      config.expect("sigma_max", {});
      if (config.get<bool>("use_karras_sigmas", false)) {
        sigmas = karras_sigmas(sigmas.front(), sigmas.back(), steps);
        timesteps_.clear();
        for (const double sigma : sigmas)
          timesteps_.push_back(static_cast<float>(timestep_of_sigma(sigma, training_sigmas)));
      }
      last = final_sigma(config, training_sigmas);
    }
    sigmas_ = to_float(sigmas);
    sigmas_.push_back(last);
    const float highest = *std::max_element(sigmas_.begin(), sigmas_.end());
    init_noise_sigma_ = space.kind == "leading" ? std::sqrt(highest * highest + 1.0f) : highest;
  }

  at::Tensor scale_model_input(const at::Tensor& sample, int64_t index) const override {
    const float sigma = sigmas_[static_cast<size_t>(index)];
    return sample / std::sqrt(sigma * sigma + 1.0f);
  }

  at::Tensor step(const at::Tensor& model_output, int64_t index, const at::Tensor& sample,
                  const Noise& noise) override {
    const float sigma = sigmas_[static_cast<size_t>(index)], next = sigmas_[static_cast<size_t>(index) + 1];
    const at::Tensor slope = (sample - denoised(model_output, sample, sigma)) / sigma;
    if (!ancestral_) return sample + slope * (next - sigma);
    // Down to below the next level, then back up to it with fresh noise.
    const float up = std::sqrt(next * next * (sigma * sigma - next * next) / (sigma * sigma));
    const float down = std::sqrt(next * next - up * up);
    const at::Tensor lower = sample + slope * (down - sigma);
    return up > 0 ? lower + noise() * up : lower;
  }

 private:
  at::Tensor denoised(const at::Tensor& model_output, const at::Tensor& sample, float sigma) const {
    switch (schedule_.prediction) {
      case Prediction::kEpsilon:
        return sample - sigma * model_output;
      case Prediction::kSample:
        return model_output;
      case Prediction::kVelocity:
        break;
    }
    const float variance = sigma * sigma + 1.0f;
    return model_output * (-sigma / std::sqrt(variance)) + sample / variance;
  }

  bool ancestral_;
};

}  // namespace

std::unique_ptr<Scheduler> make_euler(checkpoint::ConfigReader& config, int64_t steps) {
  return std::make_unique<Euler>(config, steps, false);
}

std::unique_ptr<Scheduler> make_euler_ancestral(checkpoint::ConfigReader& config, int64_t steps) {
  return std::make_unique<Euler>(config, steps, true);
}

}  // namespace readback::generate
