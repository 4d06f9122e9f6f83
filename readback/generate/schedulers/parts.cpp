#include "readback/generate/schedulers/parts.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "readback/base/error.h"

namespace readback::generate {

std::vector<double> linspace(double start, double stop, int64_t count) {
  std::vector<double> values(static_cast<size_t>(count), start);
  const double step = count > 1 ? (stop - start) / static_cast<double>(count - 1) : 0.0;
  for (int64_t i = 1; i < count; ++i) values[static_cast<size_t>(i)] = static_cast<double>(i) * step + start;
  if (count > 1) values.back() = stop;
  return values;
}

std::vector<double> interpolate(const std::vector<double>& places, const std::vector<float>& values) {
  std::vector<double> result;
  for (const double place : places) {
    const double inside = std::clamp(place, 0.0, static_cast<double>(values.size() - 1));
    const size_t low = std::min(static_cast<size_t>(inside), values.size() - 2);
    const double slope = static_cast<double>(values[low + 1]) - values[low];
    result.push_back(slope * (inside - static_cast<double>(low)) + values[low]);
  }
  return result;
}

Spacing::Spacing(checkpoint::ConfigReader& config, const char* default_kind)
    : kind(config.get<std::string>("timestep_spacing", default_kind)),
      steps_offset(config.get<int64_t>("steps_offset", 0)) {
  if (kind != "linspace" && kind != "leading" && kind != "trailing")
    throw CheckpointError(describe(config.where() + ": timestep_spacing", "linspace, leading or trailing", kind));
}

std::vector<double> Spacing::operator()(int64_t last, int64_t points, double trailing_ratio) const {
  std::vector<double> timesteps;
  if (kind == "linspace") {
    timesteps = linspace(0, static_cast<double>(last - 1), points);
  } else if (kind == "leading") {
    for (int64_t i = 0; i < points; ++i)
      timesteps.push_back(static_cast<double>(i * (last / points)) + static_cast<double>(steps_offset));
  } else {
    // numpy.arange, whose rounding adds a timestep of -1 for some counts (61 of 1,000, …); that one is left out.
    const double top = static_cast<double>(last), stride = (top - trailing_ratio) - top;
    for (int64_t i = 0; i < points && top + static_cast<double>(i) * stride > 0.5; ++i)
      timesteps.push_back(std::nearbyint(top + static_cast<double>(i) * stride) - 1);
    return timesteps;
  }
  std::reverse(timesteps.begin(), timesteps.end());
  return timesteps;
}

std::vector<double> karras_sigmas(double high, double low, int64_t count) {
  constexpr double kRho = 7.0;
  const double from = std::pow(high, 1 / kRho), to = std::pow(low, 1 / kRho);
  std::vector<double> sigmas;
  for (const double place : linspace(0, 1, count)) sigmas.push_back(std::pow(from + place * (to - from), kRho));
  return sigmas;
}

double timestep_of_sigma(double sigma, const std::vector<float>& sigmas) {
  const double wanted = std::log(std::max(sigma, 1e-10));
  // The last training timestep that is not noisier; at least 0, and with a successor.
  size_t low = 0;
  while (low + 2 < sigmas.size() && wanted >= std::log(sigmas[low + 1])) ++low;
  const float below = std::log(sigmas[low]), above = std::log(sigmas[low + 1]);
  const double weight = std::clamp((below - wanted) / (below - above), 0.0, 1.0);
  return (1 - weight) * static_cast<double>(low) + weight * static_cast<double>(low + 1);
}

float final_sigma(checkpoint::ConfigReader& config, const std::vector<float>& training_sigmas) {
  const std::string type = config.get<std::string>("final_sigmas_type", "zero");
  if (type == "zero") return 0.0f;
  if (type == "sigma_min") return training_sigmas.front();
  throw CheckpointError(describe(config.where() + ": final_sigmas_type", "zero or sigma_min", type));
}

Level Level::of_alpha(float alpha_cumprod) { return {std::sqrt(alpha_cumprod), std::sqrt(1.0f - alpha_cumprod)}; }

Level Level::of_sigma(float sigma) {
  const float signal = 1.0f / std::sqrt(sigma * sigma + 1.0f);
  return {signal, sigma * signal};
}

float Level::lambda() const { return std::log(signal) - std::log(spread); }

at::Tensor Level::clean(Prediction prediction, const at::Tensor& output, const at::Tensor& sample) const {
  return predicted_clean(prediction, signal, spread, sample, output);
}

at::Tensor Level::noise(Prediction prediction, const at::Tensor& output, const at::Tensor& sample) const {
  return predicted_noise(prediction, signal, spread, sample, output);
}

void MultistepSolver::read_levels(checkpoint::ConfigReader& config, int64_t steps, int64_t usable, bool rounds_karras) {
  for (const char* key : {"thresholding", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas",
                          "use_flow_sigmas", "use_dynamic_shifting"}) {
    config.expect(key, {false});
  }
  for (const char* key : {"sigma_min", "sigma_max", "shift_terminal"}) config.expect(key, {});
  const std::vector<float> training_sigmas = schedule_.sigmas();
  const auto train_steps = static_cast<double>(config.get<int64_t>("num_train_timesteps", 1000));
  const Spacing space(config, "linspace");
  const bool trailing = space.kind == "trailing";
  std::vector<double> timesteps = space(usable, trailing ? steps : steps + 1, train_steps / static_cast<double>(steps));
  if (!trailing) timesteps.pop_back();  // the end point itself is reached, not looked at
  for (double& t : timesteps) t = std::nearbyint(t);

  std::vector<double> sigmas;
  if (config.get<bool>("use_karras_sigmas", false)) {
    sigmas = karras_sigmas(training_sigmas.back(), training_sigmas.front(), steps);
    timesteps.clear();
    for (const double sigma : sigmas) {
      const double t = timestep_of_sigma(sigma, training_sigmas);
      timesteps.push_back(rounds_karras ? std::nearbyint(t) : std::trunc(t));
    }
  } else {
    sigmas = interpolate(timesteps, training_sigmas);
  }
  timesteps_ = to_float(timesteps);
  sigmas_ = to_float(sigmas);
  sigmas_.push_back(final_sigma(config, training_sigmas));
}

std::vector<float> to_float(const std::vector<double>& values) { return {values.begin(), values.end()}; }

float alpha_at(const std::vector<float>& alphas_cumprod, int64_t index) {
  if (index < 0 || index >= static_cast<int64_t>(alphas_cumprod.size()))
    throw UsageError(describe("num_inference_steps", fmt::format("timesteps of 0 to {}", alphas_cumprod.size() - 1),
                              std::to_string(index), "Ask for fewer steps."));
  return alphas_cumprod[static_cast<size_t>(index)];
}

std::vector<float> to_vector(const at::Tensor& values) {
  const at::Tensor dense = values.contiguous();
  return {dense.const_data_ptr<float>(), dense.const_data_ptr<float>() + dense.numel()};
}

}  // namespace readback::generate
