// DPM-Solver++ of order 1 and 2, multistep, data prediction: Lu et al., https://arxiv.org/abs/2211.01095, algorithm 2;
// and its stochastic form, SDE-DPM-Solver++, of the same paper's appendix A.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "readback/base/error.h"
#include "readback/generate/schedulers/parts.h"

namespace readback::generate {
namespace {

class DpmSolverMultistep : public MultistepSolver {
 public:
  DpmSolverMultistep(checkpoint::ConfigReader& config, int64_t steps) {
    schedule_ = NoiseSchedule::read(config);
    read_solver(config);
    read_levels(config, steps, config.get<int64_t>("num_train_timesteps", 1000) - clipped_timesteps(config),
                config.get<std::string>("beta_schedule", "linear") != "squaredcos_cap_v2");
  }

  at::Tensor step(const at::Tensor& model_output, int64_t index, const at::Tensor& sample,
                  const Noise& noise) override {
    const size_t i = static_cast<size_t>(index);
    const Level here = level(i), next = level(i + 1);
    const at::Tensor x0 = here.clean(schedule_.prediction, model_output, sample);
    const at::Tensor before = std::exchange(previous_x0_, x0);

    // The stochastic form goes twice as far down and adds noise back.
    const float h = next.lambda() - here.lambda(), speed = stochastic_ ? 2.0f : 1.0f;
    const float gain = -next.signal * (std::exp(-speed * h) - 1.0f);
    at::Tensor result = next.spread / here.spread * (stochastic_ ? std::exp(-h) : 1.0f) * sample + gain * x0;
    const bool last = index == size() - 1;
    const bool lower_last = last && (euler_at_final_ || sigmas_.back() == 0 || (lower_order_final_ && size() < 15));
    if (order_ == 2 && index > 0 && !lower_last) {
      const float r = (here.lambda() - level(i - 1).lambda()) / h;
      result = result + 0.5f * gain / r * (x0 - before);
    }
    if (stochastic_ && next.spread > 0) result = result + next.spread * std::sqrt(1.0f - std::exp(-2.0f * h)) * noise();
    return result;
  }

 private:
  void read_solver(checkpoint::ConfigReader& config) {
    // Names of other multistep solvers' options stand for ours, as in diffusers.
    config.expect("algorithm_type", {"dpmsolver++", "sde-dpmsolver++", "deis"});
    stochastic_ = config.get<std::string>("algorithm_type", "") == "sde-dpmsolver++";
    config.expect("solver_type", {"midpoint", "logrho", "bh1", "bh2"});
    config.expect("variance_type", {"fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log"});
    order_ = config.get<int64_t>("solver_order", 2);
    if (order_ != 1 && order_ != 2)
      throw CheckpointError(describe(config.where() + ": solver_order", "1 or 2", std::to_string(order_)));
    lower_order_final_ = config.get<bool>("lower_order_final", true);
    euler_at_final_ = config.get<bool>("euler_at_final", false);
  }

  // How many of the noisiest training timesteps lie below lambda_min_clipped.
  int64_t clipped_timesteps(checkpoint::ConfigReader& config) const {
    const double lowest = config.get<double>("lambda_min_clipped", -std::numeric_limits<double>::infinity());
    const auto noisier = [lowest](float sigma) { return Level::of_sigma(sigma).lambda() < lowest; };
    const std::vector<float> sigmas = schedule_.sigmas();
    return std::count_if(sigmas.begin(), sigmas.end(), noisier);
  }

  int64_t order_ = 2;
  bool stochastic_ = false, lower_order_final_ = true, euler_at_final_ = false;
  at::Tensor previous_x0_;
};

}  // namespace

std::unique_ptr<Scheduler> make_dpm_solver_multistep(checkpoint::ConfigReader& config, int64_t steps) {
  return std::make_unique<DpmSolverMultistep>(config, steps);
}

}  // namespace readback::generate
