// Multistep consistency sampling: Luo et al., "Latent consistency models", https://arxiv.org/abs/2310.04378,
// algorithm 3. Each step goes to the end and, but for the last, back up with fresh noise.
#include "readback/generate/schedulers/lcm.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>

#include "readback/base/error.h"
#include "readback/generate/schedulers/parts.h"

namespace readback::generate {

BoundaryScalings boundary_scalings(float t, float timestep_scaling) {
  constexpr float kVariance = 0.25f;  // of the data
  const float scaled = t * timestep_scaling, total = scaled * scaled + kVariance;
  return {.skip = kVariance / total, .out = scaled / std::sqrt(total)};
}

namespace {

class Lcm : public Scheduler {
 public:
  Lcm(checkpoint::ConfigReader& config, int64_t steps) {
    schedule_ = NoiseSchedule::read(config, /*can_rescale=*/true, kLcmNoise);
    alphas_ = to_vector(schedule_.alphas_cumprod);
    config.expect("thresholding", {false});
    if (config.get<bool>("clip_sample", false)) clip_ = config.get<double>("clip_sample_range", 1.0);
    scaling_ = config.get<float>("timestep_scaling", kTimestepScaling);

    // The timesteps that the model was distilled at, of which `steps` are taken.
    const auto train_steps = config.get<int64_t>("num_train_timesteps", 1000);
    const auto distilled = config.get<int64_t>("original_inference_steps", 50);
    if (distilled < 1 || distilled > train_steps)
      throw CheckpointError(describe(config.where() + ": original_inference_steps", fmt::format("1 to {}", train_steps),
                                     std::to_string(distilled)));
    if (steps > distilled)
      throw UsageError(describe("num_inference_steps", fmt::format("1 to {} for LCM", distilled), std::to_string(steps),
                                "LCM needs 4 to 8; ddim and others take more"));
    const double stride = static_cast<double>(distilled) / static_cast<double>(steps);
    for (int64_t i = 0; i < steps; ++i) {
      const auto from_noisiest = static_cast<int64_t>(std::floor(static_cast<double>(i) * stride));
      timesteps_.push_back(static_cast<float>((distilled - from_noisiest) * (train_steps / distilled) - 1));
    }
  }

  at::Tensor step(const at::Tensor& model_output, int64_t index, const at::Tensor& sample,
                  const Noise& noise) override {
    const float t = timesteps_[static_cast<size_t>(index)];
    const Level here = Level::of_alpha(alpha_at(alphas_, static_cast<int64_t>(t)));
    at::Tensor x0 = here.clean(schedule_.prediction, model_output, sample);
    if (clip_ > 0) x0 = x0.clamp(-clip_, clip_);

    const BoundaryScalings scalings = boundary_scalings(t, scaling_);
    const at::Tensor denoised = scalings.out * x0 + scalings.skip * sample;
    if (index == size() - 1) return denoised;
    const auto following = static_cast<int64_t>(timesteps_[static_cast<size_t>(index) + 1]);
    const Level next = Level::of_alpha(alpha_at(alphas_, following));
    return next.signal * denoised + next.spread * noise();
  }

 private:
  std::vector<float> alphas_;
  double clip_ = 0;  // 0: not clipped
  float scaling_ = kTimestepScaling;
};

}  // namespace

std::unique_ptr<Scheduler> make_lcm(checkpoint::ConfigReader& config, int64_t steps) {
  return std::make_unique<Lcm>(config, steps);
}

}  // namespace readback::generate
