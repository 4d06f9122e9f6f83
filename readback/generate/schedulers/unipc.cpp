// UniPC: Zhao et al., "A unified predictor-corrector framework for fast sampling of diffusion models",
// https://arxiv.org/abs/2302.04867, of orders 1 to 3, for x_0 and for ε.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "readback/base/error.h"
#include "readback/generate/schedulers/parts.h"

namespace readback::generate {
namespace {

class Unipc : public MultistepSolver {
 public:
  Unipc(checkpoint::ConfigReader& config, int64_t steps) {
    schedule_ = NoiseSchedule::read(config);
    // Names of other multistep solvers' options stand for ours, as in diffusers.
    config.expect("solver_type", {"bh2", "bh1", "midpoint", "heun", "logrho"});
    is_bh1_ = config.get<std::string>("solver_type", "") == "bh1";
    config.expect("solver_p", {});
    order_ = config.get<int64_t>("solver_order", 2);
    if (order_ < 1 || order_ > 3)
      throw CheckpointError(describe(config.where() + ": solver_order", "1, 2 or 3", std::to_string(order_)));
    clean_ = config.get<bool>("predict_x0", true);
    lower_order_final_ = config.get<bool>("lower_order_final", true);
    uncorrected_ = config.get<std::vector<int64_t>>("disable_corrector", {});
    read_levels(config, steps, config.get<int64_t>("num_train_timesteps", 1000), /*rounds_karras=*/true);
    if (sigmas_.back() == 0 && (!clean_ || (!lower_order_final_ && order_ > 1))) {
      throw CheckpointError(describe(config.where() + ": final_sigmas_type",
                                     "sigma_min with predict_x0 or lower_order_final off", "zero",
                                     "Their last step to a noise of zero is infinite; diffusers gives no picture"));
    }
  }

  at::Tensor step(const at::Tensor& model_output, int64_t index, const at::Tensor& sample, const Noise&) override {
    const Level here = level(static_cast<size_t>(index));
    const at::Tensor output = clean_ ? here.clean(schedule_.prediction, model_output, sample)
                                     : here.noise(schedule_.prediction, model_output, sample);
    const bool corrects = index > 0 && std::ranges::find(uncorrected_, index - 1) == uncorrected_.end();
    start_ = corrects ? advance(index - 1, output) : sample;

    outputs_.insert(outputs_.begin(), output);
    if (std::ssize(outputs_) > order_) outputs_.pop_back();
    const int64_t most = lower_order_final_ ? std::min(order_, size() - index) : order_;
    step_order_ = std::min(most, std::ssize(outputs_));
    return advance(index, {});
  }

 private:
  // From start_ at forward `from` to the level after it, by the outputs up to `from` (the predictor) and, where it is
  // defined, by `reached`, the output at the end itself (the corrector).
  at::Tensor advance(int64_t from, const at::Tensor& reached) const {
    const auto i = static_cast<size_t>(from);
    const Level here = level(i), next = level(i + 1);
    const float h = next.lambda() - here.lambda(), hh = clean_ ? -h : h;
    const float reach = clean_ ? next.signal : next.spread;
    const at::Tensor first_order = (clean_ ? next.spread / here.spread : next.signal / here.signal) * start_ -
                                   reach * std::expm1(hh) * outputs_[0];

    std::vector<float> ratios;  // where the outputs stand on the way, in units of h from its beginning
    std::vector<at::Tensor> slopes;
    for (int64_t k = 1; k < step_order_; ++k) {
      ratios.push_back((level(i - static_cast<size_t>(k)).lambda() - here.lambda()) / h);
      slopes.push_back((outputs_[static_cast<size_t>(k)] - outputs_[0]) / ratios.back());
    }
    if (reached.defined()) {
      ratios.push_back(1.0f);
      slopes.push_back(reached - outputs_[0]);
    }
    if (slopes.empty()) return first_order;
    const float size = is_bh1_ ? hh : std::expm1(hh);  // B(h)
    const std::vector<float> weights = weights_of(ratios, hh, size);
    at::Tensor residual = weights[0] * slopes[0];
    for (size_t k = 1; k < slopes.size(); ++k) residual = residual + weights[k] * slopes[k];
    return first_order - reach * size * residual;
  }

  // Theorem 3.1: Σ_k weight_k ratio_k^n = n! φ_{n+1}(h) h / B(h) for each n below the number of ratios.
  static std::vector<float> weights_of(const std::vector<float>& ratios, float hh, float size) {
    // With one ratio the authors take the limit for small steps.
    if (ratios.size() == 1) return {0.5f};
    const auto count = std::ssize(ratios);
    const at::Tensor places = at::tensor(ratios, at::kDouble);
    std::vector<at::Tensor> powers;
    std::vector<double> moments;
    double phi = std::expm1(static_cast<double>(hh)) / hh - 1, factorial = 1;
    for (int64_t n = 0; n < count; ++n) {
      powers.push_back(places.pow(n));
      moments.push_back(phi * factorial / size);
      factorial *= static_cast<double>(n + 2);
      phi = phi / hh - 1 / factorial;
    }
    const at::Tensor solved = at::linalg_solve(at::stack(powers), at::tensor(moments, at::kDouble)).to(at::kFloat);
    return to_vector(solved);
  }

  bool clean_ = true, is_bh1_ = false, lower_order_final_ = true;
  int64_t order_ = 2, step_order_ = 1;  // at most, and of the last predictor
  std::vector<int64_t> uncorrected_;    // steps after which the corrector rests
  at::Tensor start_;                    // the sample that the last predictor began with
  std::vector<at::Tensor> outputs_;     // the last `order_` of them, the newest first
};

}  // namespace

std::unique_ptr<Scheduler> make_unipc(checkpoint::ConfigReader& config, int64_t steps) {
  return std::make_unique<Unipc>(config, steps);
}

}  // namespace readback::generate
