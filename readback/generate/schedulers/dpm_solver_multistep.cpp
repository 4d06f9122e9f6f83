// DPM-Solver++ of order 1 and 2, multistep, data prediction: Lu et al., https://arxiv.org/abs/2211.01095, algorithm 2.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "readback/base/error.h"
#include "readback/generate/schedulers/parts.h"

namespace readback::generate {
namespace {

// A noise level on the variance-preserving path: x = alpha · x_0 + sigma · ε, λ = log(alpha / sigma).
struct Level {
  float alpha, sigma, lambda;
  explicit Level(float ratio)
      : alpha(1.0f / std::sqrt(ratio * ratio + 1.0f)),
        sigma(ratio * alpha),
        lambda(std::log(alpha) - std::log(sigma)) {}
};

class DpmSolverMultistep : public Scheduler {
 public:
  DpmSolverMultistep(checkpoint::ConfigReader& config, int64_t steps) {
    const NoiseSchedule schedule = NoiseSchedule::read(config);
    prediction_ = schedule.prediction;
    read_solver(config);

    const std::vector<float> training_sigmas = schedule.sigmas();
    const auto train_steps = config.get<int64_t>("num_train_timesteps", 1000);
    const int64_t last = train_steps - clipped_timesteps(config, training_sigmas);
    const Spacing space(config, "linspace");
    const bool trailing = space.kind == "trailing";
    std::vector<double> timesteps =
        space(last, trailing ? steps : steps + 1, static_cast<double>(train_steps) / static_cast<double>(steps));
    if (!trailing) timesteps.pop_back();  // the end point itself is reached, not looked at
    for (double& t : timesteps) t = std::nearbyint(t);

    std::vector<double> sigmas;
    if (config.get<bool>("use_karras_sigmas", false)) {
      sigmas = karras_sigmas(training_sigmas.back(), training_sigmas.front(), steps);
      timesteps.clear();
      const bool rounded = config.get<std::string>("beta_schedule", "linear") != "squaredcos_cap_v2";
      for (const double sigma : sigmas) {
        const double t = timestep_of_sigma(sigma, training_sigmas);
        timesteps.push_back(rounded ? std::nearbyint(t) : std::trunc(t));
      }
    } else {
      sigmas = interpolate(timesteps, training_sigmas);
    }
    timesteps_ = to_float(timesteps);
    sigmas_ = to_float(sigmas);
    sigmas_.push_back(final_sigma(config, training_sigmas));
    ends_at_zero_ = sigmas_.back() == 0;
  }

  at::Tensor step(const at::Tensor& model_output, int64_t index, const at::Tensor& sample, const Noise&) override {
    const size_t i = static_cast<size_t>(index);
    const Level here(sigmas_[i]), next(sigmas_[i + 1]);
    const at::Tensor x0 = denoised(model_output, sample, here);
    const at::Tensor before = std::exchange(previous_x0_, x0);

    const float h = next.lambda - here.lambda;
    const float gain = -next.alpha * (std::exp(-h) - 1.0f);
    const at::Tensor first_order = next.sigma / here.sigma * sample + gain * x0;
    const bool last = index == size() - 1;
    const bool lower_last = last && (euler_at_final_ || ends_at_zero_ || (lower_order_final_ && size() < 15));
    if (order_ == 1 || index == 0 || lower_last) return first_order;
    const float r = (here.lambda - Level(sigmas_[i - 1]).lambda) / h;
    return first_order + 0.5f * gain / r * (x0 - before);
  }

 private:
  void read_solver(checkpoint::ConfigReader& config) {
    // Names of other multistep solvers' options stand for ours, as in diffusers.
    config.expect("algorithm_type", {"dpmsolver++", "deis"});
    config.expect("solver_type", {"midpoint", "logrho", "bh1", "bh2"});
    config.expect("thresholding", {false});
    config.expect("use_exponential_sigmas", {false});
    config.expect("use_beta_sigmas", {false});
    config.expect("use_lu_lambdas", {false});
    config.expect("use_flow_sigmas", {false});
    config.expect("use_dynamic_shifting", {false});
    config.expect("sigma_min", {});
    config.expect("sigma_max", {});
    config.expect("variance_type", {"fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log"});
    order_ = config.get<int64_t>("solver_order", 2);
    if (order_ != 1 && order_ != 2)
      throw CheckpointError(describe(config.where() + ": solver_order", "1 or 2", std::to_string(order_)));
    lower_order_final_ = config.get<bool>("lower_order_final", true);
    euler_at_final_ = config.get<bool>("euler_at_final", false);
  }

  // How many of the noisiest training timesteps lie below lambda_min_clipped.
  static int64_t clipped_timesteps(checkpoint::ConfigReader& config, const std::vector<float>& training_sigmas) {
    const double lowest = config.get<double>("lambda_min_clipped", -std::numeric_limits<double>::infinity());
    const auto noisier = [lowest](float sigma) { return Level(sigma).lambda < lowest; };
    return std::count_if(training_sigmas.begin(), training_sigmas.end(), noisier);
  }

  at::Tensor denoised(const at::Tensor& model_output, const at::Tensor& sample, const Level& level) const {
    switch (prediction_) {
      case Prediction::kEpsilon:
        return (sample - level.sigma * model_output) / level.alpha;
      case Prediction::kSample:
        return model_output;
      case Prediction::kVelocity:
        break;
    }
    return level.alpha * sample - level.sigma * model_output;
  }

  Prediction prediction_;
  int64_t order_ = 2;
  bool lower_order_final_ = true, euler_at_final_ = false, ends_at_zero_ = true;
  at::Tensor previous_x0_;
};

}  // namespace

std::unique_ptr<Scheduler> make_dpm_solver_multistep(checkpoint::ConfigReader& config, int64_t steps) {
  return std::make_unique<DpmSolverMultistep>(config, steps);
}

}  // namespace readback::generate
