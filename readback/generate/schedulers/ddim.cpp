// DDIM with η = 0: Song et al., "Denoising diffusion implicit models", https://arxiv.org/abs/2010.02502, formula 12.
#include <ATen/ATen.h>

#include <cmath>

#include "readback/generate/schedulers/parts.h"

namespace readback::generate {
namespace {

class Ddim : public Scheduler {
 public:
  Ddim(checkpoint::ConfigReader& config, int64_t steps) {
    const NoiseSchedule schedule = NoiseSchedule::read(config);
    alphas_ = to_vector(schedule.alphas_cumprod);
    prediction_ = schedule.prediction;
    final_alpha_ = config.get<bool>("set_alpha_to_one", true) ? 1.0f : alphas_[0];
    config.expect("thresholding", {false});
    if (config.get<bool>("clip_sample", true)) clip_ = config.get<double>("clip_sample_range", 1.0);

    const auto train_steps = config.get<int64_t>("num_train_timesteps", 1000);
    stride_ = train_steps / steps;
    const Spacing space(config, "leading");
    timesteps_ = to_float(space(train_steps, steps, static_cast<double>(train_steps) / static_cast<double>(steps)));
    for (float& t : timesteps_) t = std::nearbyint(t);
  }

  at::Tensor step(const at::Tensor& model_output, int64_t index, const at::Tensor& sample, const Noise&) override {
    const auto t = static_cast<int64_t>(timesteps_[static_cast<size_t>(index)]), previous = t - stride_;
    const float alpha = alpha_at(alphas_, t);
    const float alpha_previous = previous >= 0 ? alpha_at(alphas_, previous) : final_alpha_;
    const float signal = std::sqrt(alpha), spread = std::sqrt(1.0f - alpha);

    at::Tensor x0, epsilon;
    switch (prediction_) {
      case Prediction::kEpsilon:
        epsilon = model_output;
        x0 = (sample - spread * model_output) / signal;
        break;
      case Prediction::kSample:
        x0 = model_output;
        epsilon = (sample - signal * x0) / spread;
        break;
      case Prediction::kVelocity:
        x0 = signal * sample - spread * model_output;
        epsilon = signal * model_output + spread * sample;
        break;
    }
    if (clip_ > 0) x0 = x0.clamp(-clip_, clip_);
    return std::sqrt(alpha_previous) * x0 + std::sqrt(1.0f - alpha_previous) * epsilon;
  }

 private:
  std::vector<float> alphas_;
  Prediction prediction_;
  float final_alpha_;
  double clip_ = 0;     // 0: not clipped
  int64_t stride_ = 1;  // training timesteps a step
};

}  // namespace

std::unique_ptr<Scheduler> make_ddim(checkpoint::ConfigReader& config, int64_t steps) {
  return std::make_unique<Ddim>(config, steps);
}

}  // namespace readback::generate
