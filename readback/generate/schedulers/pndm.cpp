// F-PNDM: Liu et al., "Pseudo numerical methods for diffusion models on manifolds", https://arxiv.org/abs/2202.09778.
// Three Runge-Kutta steps of four forwards each (formula 13), then the linear multistep method (formula 12); with
// skip_prk_steps, as Stable Diffusion uses it, the multistep method starts at a lower order instead.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "readback/base/error.h"
#include "readback/generate/schedulers/parts.h"

namespace readback::generate {
namespace {

constexpr int64_t kOrder = 4;

class Pndm : public Scheduler {
 public:
  Pndm(checkpoint::ConfigReader& config, int64_t steps) {
    schedule_ = NoiseSchedule::read(config, /*can_rescale=*/false);
    alphas_ = to_vector(schedule_.alphas_cumprod);
    if (schedule_.prediction == Prediction::kSample)
      throw CheckpointError(
          describe(config.where() + ": prediction_type", "epsilon or v_prediction for PNDM", "sample"));
    final_alpha_ = config.get<bool>("set_alpha_to_one", false) ? 1.0f : alphas_[0];

    const auto train_steps = config.get<int64_t>("num_train_timesteps", 1000);
    stride_ = train_steps / steps;
    const Spacing space(config, "leading");
    std::vector<double> grid = space(train_steps, steps, static_cast<double>(train_steps) / static_cast<double>(steps));
    for (double& t : grid) t = std::nearbyint(t);
    if (config.get<bool>("skip_prk_steps", false)) {
      // The second forward repeats the first step from its end point.
      if (grid.size() > 1) grid.insert(grid.begin() + 1, grid[1]);
    } else {
      if (steps < kOrder)
        throw UsageError(describe("num_inference_steps",
                                  fmt::format("{} at least for PNDM with skip_prk_steps off", kOrder),
                                  std::to_string(steps)));
      runge_kutta_ = 4 * (kOrder - 1);
      grid = with_runge_kutta(grid);
    }
    timesteps_ = to_float(grid);
  }

  at::Tensor step(const at::Tensor& model_output, int64_t index, const at::Tensor& sample, const Noise&) override {
    const auto t = static_cast<int64_t>(timesteps_[static_cast<size_t>(index)]);
    return index < runge_kutta_ ? runge_kutta_step(model_output, index, t, sample)
                                : multistep(model_output, index, t, sample);
  }

 private:
  // Each of the three steps a → b looks at a, twice at the point half a stride above b, and at b.
  std::vector<double> with_runge_kutta(const std::vector<double>& grid) const {
    std::vector<double> timesteps;
    const auto half = static_cast<double>(stride_ / 2);
    for (size_t i = 0; i + 1 < kOrder; ++i)
      timesteps.insert(timesteps.end(), {grid[i], grid[i + 1] + half, grid[i + 1] + half, grid[i + 1]});
    timesteps.insert(timesteps.end(), grid.begin() + (kOrder - 1), grid.end());
    return timesteps;
  }

  at::Tensor runge_kutta_step(const at::Tensor& model_output, int64_t index, int64_t t, const at::Tensor& sample) {
    const int64_t stage = index % 4;
    at::Tensor slope = model_output;
    if (stage == 0) {
      slopes_ = model_output / 6.0;
      history_.push_back(model_output);
      start_ = sample;
    } else if (stage < 3) {
      slopes_ = slopes_ + model_output / 3.0;
    } else {
      slope = slopes_ + model_output / 6.0;
    }
    const int64_t previous = t - (index % 2 == 0 ? stride_ / 2 : 0);
    return advance(start_, static_cast<int64_t>(timesteps_[static_cast<size_t>(index - stage)]), previous, slope);
  }

  at::Tensor multistep(const at::Tensor& model_output, int64_t index, int64_t t, const at::Tensor& sample) {
    if (index == 1) {  // only without Runge-Kutta: the first step again, with the mean of both slopes
      return advance(start_, t + stride_, t, (model_output + history_.back()) / 2.0);
    }
    if (index == 0) start_ = sample;
    history_.push_back(model_output);
    if (history_.size() > kOrder) history_.erase(history_.begin());
    const auto e = [this](size_t back) { return history_[history_.size() - back]; };
    at::Tensor slope;
    switch (history_.size()) {
      case 1:
        slope = e(1);
        break;
      case 2:
        slope = (3.0 * e(1) - e(2)) / 2.0;
        break;
      case 3:
        slope = (23.0 * e(1) - 16.0 * e(2) + 5.0 * e(3)) / 12.0;
        break;
      default:
        slope = (55.0 * e(1) - 59.0 * e(2) + 37.0 * e(3) - 9.0 * e(4)) / 24.0;
    }
    return advance(sample, t, t - stride_, slope);
  }

  // Formula 11: the transfer from timestep t to `previous` along the predicted noise.
  at::Tensor advance(const at::Tensor& sample, int64_t t, int64_t previous, const at::Tensor& model_output) const {
    const float alpha = alpha_at(alphas_, t);
    const float alpha_previous = previous >= 0 ? alpha_at(alphas_, previous) : final_alpha_;
    const float beta = 1.0f - alpha, beta_previous = 1.0f - alpha_previous;
    const at::Tensor epsilon = Level::of_alpha(alpha).noise(schedule_.prediction, model_output, sample);
    const float scale = std::sqrt(alpha_previous / alpha);
    const float denominator = alpha * std::sqrt(beta_previous) + std::sqrt(alpha * beta * alpha_previous);
    return scale * sample - (alpha_previous - alpha) / denominator * epsilon;
  }

  std::vector<float> alphas_;
  float final_alpha_;
  int64_t stride_ = 1;       // training timesteps a step
  int64_t runge_kutta_ = 0;  // how many forwards belong to Runge-Kutta steps
  at::Tensor start_;         // where the current Runge-Kutta step, or the repeated first step, began
  at::Tensor slopes_;        // weighted sum of the Runge-Kutta slopes so far
  std::vector<at::Tensor> history_;
};

}  // namespace

std::unique_ptr<Scheduler> make_pndm(checkpoint::ConfigReader& config, int64_t steps) {
  return std::make_unique<Pndm>(config, steps);
}

}  // namespace readback::generate
