// DDIM with η = 0: Song et al., "Denoising diffusion implicit models", https://arxiv.org/abs/2010.02502, formula 12.
#include <ATen/ATen.h>

#include <cmath>

#include "readback/generate/schedulers/parts.h"

namespace readback::generate {
namespace {

class Ddim : public Scheduler {
 public:
  Ddim(checkpoint::ConfigReader& config, int64_t steps) {
    schedule_ = NoiseSchedule::read(config);
    alphas_ = to_vector(schedule_.alphas_cumprod);
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
    const Level here = Level::of_alpha(alpha_at(alphas_, t));
    const Level next = Level::of_alpha(previous >= 0 ? alpha_at(alphas_, previous) : final_alpha_);
    at::Tensor x0 = here.clean(schedule_.prediction, model_output, sample);
    if (clip_ > 0) x0 = x0.clamp(-clip_, clip_);
    return next.signal * x0 + next.spread * here.noise(schedule_.prediction, model_output, sample);
  }

 private:
  std::vector<float> alphas_;
  float final_alpha_;
  double clip_ = 0;     // 0: not clipped
  int64_t stride_ = 1;  // training timesteps a step
};

}  // namespace

std::unique_ptr<Scheduler> make_ddim(checkpoint::ConfigReader& config, int64_t steps) {
  return std::make_unique<Ddim>(config, steps);
}

}  // namespace readback::generate
