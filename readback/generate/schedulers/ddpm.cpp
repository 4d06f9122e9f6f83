// Ancestral sampling: Ho et al., "Denoising diffusion probabilistic models", https://arxiv.org/abs/2006.11239,
// formulas 6 and 7.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "readback/generate/schedulers/parts.h"

namespace readback::generate {
namespace {

class Ddpm : public Scheduler {
 public:
  Ddpm(checkpoint::ConfigReader& config, int64_t steps) {
    schedule_ = NoiseSchedule::read(config);
    alphas_ = to_vector(schedule_.alphas_cumprod);
    config.expect("thresholding", {false});
    config.expect("variance_type", {"fixed_small", "fixed_small_log", "fixed_large"});
    large_ = config.get<std::string>("variance_type", "") == "fixed_large";
    if (config.get<bool>("clip_sample", true)) clip_ = config.get<double>("clip_sample_range", 1.0);

    const auto train_steps = config.get<int64_t>("num_train_timesteps", 1000);
    const Spacing space(config, "leading");
    timesteps_ = to_float(space(train_steps, steps, static_cast<double>(train_steps) / static_cast<double>(steps)));
    for (float& t : timesteps_) t = std::nearbyint(t);
  }

  at::Tensor step(const at::Tensor& model_output, int64_t index, const at::Tensor& sample,
                  const Noise& noise) override {
    const auto t = static_cast<int64_t>(timesteps_[static_cast<size_t>(index)]);
    const float alpha = alpha_at(alphas_, t);
    const float next =
        index + 1 < size() ? alpha_at(alphas_, static_cast<int64_t>(timesteps_[static_cast<size_t>(index) + 1])) : 1.0f;
    const float kept = alpha / next, beta = 1.0f - kept;  // of the steps in between, as if they were one

    at::Tensor x0 = Level::of_alpha(alpha).clean(schedule_.prediction, model_output, sample);
    if (clip_ > 0) x0 = x0.clamp(-clip_, clip_);
    const at::Tensor mean =
        std::sqrt(next) * beta / (1.0f - alpha) * x0 + std::sqrt(kept) * (1.0f - next) / (1.0f - alpha) * sample;
    if (t == 0) return mean;
    const float small = std::max((1.0f - next) / (1.0f - alpha) * beta, 1e-20f);
    return mean + std::sqrt(large_ ? beta : small) * noise();
  }

 private:
  std::vector<float> alphas_;
  bool large_ = false;  // the variance is that of the forward process, not of its posterior
  double clip_ = 0;     // 0: not clipped
};

}  // namespace

std::unique_ptr<Scheduler> make_ddpm(checkpoint::ConfigReader& config, int64_t steps) {
  return std::make_unique<Ddpm>(config, steps);
}

}  // namespace readback::generate
