#include "readback/generate/noise_schedule.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>
#include <utility>

#include "readback/base/error.h"

namespace readback::generate {

// ᾱ(t) = cos²((t + 0.008) / 1.008 · π / 2) of Nichol and Dhariwal, https://arxiv.org/abs/2102.09672
at::Tensor cosine_betas(int64_t steps) {
  const auto alpha_bar = [](double t) {
    const double c = std::cos((t + 0.008) / 1.008 * std::numbers::pi / 2);
    return c * c;
  };
  std::vector<float> betas;
  const double count = static_cast<double>(steps);
  for (int64_t i = 0; i < steps; ++i) {
    const double beta = 1 - alpha_bar(static_cast<double>(i + 1) / count) / alpha_bar(static_cast<double>(i) / count);
    betas.push_back(static_cast<float>(std::min(beta, 0.999)));
  }
  return at::tensor(betas);
}

namespace {

// Algorithm 1 of https://arxiv.org/abs/2305.08891: the last timestep is pure noise.
at::Tensor rescale_to_zero_terminal_snr(const at::Tensor& betas) {
  at::Tensor root = (1.0 - betas).cumprod(0).sqrt();
  const at::Tensor first = root[0].clone(), last = root[-1].clone();
  root = (root - last) * (first / (first - last));
  const at::Tensor alpha_bar = root.square();
  const at::Tensor alphas = at::cat({alpha_bar.narrow(0, 0, 1), alpha_bar.narrow(0, 1, alpha_bar.numel() - 1) /
                                                                    alpha_bar.narrow(0, 0, alpha_bar.numel() - 1)});
  return 1.0 - alphas;
}

at::Tensor read_betas(checkpoint::ConfigReader& config, const NoiseDefaults& defaults) {
  const int64_t steps = config.get<int64_t>("num_train_timesteps", 1000);
  const double start = config.get<double>("beta_start", defaults.beta_start);
  const double end = config.get<double>("beta_end", defaults.beta_end);
  const std::string schedule = config.get<std::string>("beta_schedule", defaults.beta_schedule);
  config.ignore({"trained_betas"});
  if (config.has("trained_betas")) {
    const nlohmann::json& values = config.raw()["trained_betas"];
    std::vector<float> betas;
    for (const nlohmann::json& value : values) {
      if (value.is_number()) betas.push_back(value.get<float>());
    }
    if (!values.is_array() || betas.size() < 2 || betas.size() != values.size())
      throw CheckpointError(describe(config.where() + ": trained_betas", "a list of numbers", values.dump()));
    return at::tensor(betas);
  }
  if (steps < 2 || steps > 1'000'000)
    throw CheckpointError(describe(config.where() + ": num_train_timesteps", "2 to 1,000,000", std::to_string(steps)));
  if (schedule == "linear") return at::linspace(start, end, steps, at::kFloat);
  if (schedule == "scaled_linear") return at::linspace(std::sqrt(start), std::sqrt(end), steps, at::kFloat).square();
  if (schedule == "squaredcos_cap_v2") return cosine_betas(steps);
  throw CheckpointError(
      describe(config.where() + ": beta_schedule", "linear, scaled_linear or squaredcos_cap_v2", schedule));
}

Prediction read_prediction(checkpoint::ConfigReader& config) {
  const std::string name = config.get<std::string>("prediction_type", "epsilon");
  if (name == "epsilon") return Prediction::kEpsilon;
  if (name == "sample") return Prediction::kSample;
  if (name == "v_prediction") return Prediction::kVelocity;
  throw CheckpointError(describe(config.where() + ": prediction_type", "epsilon, sample or v_prediction", name));
}

// √ᾱ_t and √(1 - ᾱ_t), shaped to multiply `x`.
std::pair<at::Tensor, at::Tensor> factors(const at::Tensor& alphas_cumprod, const at::Tensor& x, const at::Tensor& t) {
  std::vector<int64_t> shape(static_cast<size_t>(x.dim()), 1);
  shape[0] = t.numel();
  const at::Tensor alpha = alphas_cumprod.to(t.device()).index_select(0, t.reshape({-1})).view(shape).to(x.device());
  return {alpha.sqrt().to(x.scalar_type()), (1.0 - alpha).sqrt().to(x.scalar_type())};
}

}  // namespace

NoiseSchedule NoiseSchedule::read(checkpoint::ConfigReader& config, bool can_rescale, const NoiseDefaults& defaults) {
  at::Tensor betas = read_betas(config, defaults);
  if (can_rescale && config.get<bool>("rescale_betas_zero_snr", false)) betas = rescale_to_zero_terminal_snr(betas);
  return {(1.0 - betas).cumprod(0), read_prediction(config)};
}

NoiseSchedule NoiseSchedule::from_config(const nlohmann::json& scheduler_config) {
  checkpoint::ConfigReader config(scheduler_config, "scheduler_config.json");
  const nlohmann::json of = config.get<nlohmann::json>("_class_name", nullptr);
  return read(config, /*can_rescale=*/true,
              of == "LCMScheduler"      ? kLcmNoise
              : of == "UnCLIPScheduler" ? kUnclipNoise
                                        : NoiseDefaults());
}

at::Tensor NoiseSchedule::add_noise(const at::Tensor& x0, const at::Tensor& noise, const at::Tensor& t) const {
  const auto [signal, spread] = factors(alphas_cumprod, x0, t);
  return signal * x0 + spread * noise;
}

at::Tensor NoiseSchedule::velocity(const at::Tensor& x0, const at::Tensor& noise, const at::Tensor& t) const {
  const auto [signal, spread] = factors(alphas_cumprod, x0, t);
  return signal * noise - spread * x0;
}

at::Tensor NoiseSchedule::clean(const at::Tensor& sample, const at::Tensor& output, const at::Tensor& t) const {
  const auto [signal, spread] = factors(alphas_cumprod, sample, t);
  return predicted_clean(prediction, signal, spread, sample, output);
}

at::Tensor NoiseSchedule::noise_in(const at::Tensor& sample, const at::Tensor& output, const at::Tensor& t) const {
  const auto [signal, spread] = factors(alphas_cumprod, sample, t);
  return predicted_noise(prediction, signal, spread, sample, output);
}

at::Tensor NoiseSchedule::signal_to_noise(const at::Tensor& t) const {
  const at::Tensor alpha = alphas_cumprod.index_select(0, t.cpu());
  return alpha / (1.0 - alpha);
}

at::Tensor NoiseSchedule::target(const at::Tensor& x0, const at::Tensor& noise, const at::Tensor& t) const {
  switch (prediction) {
    case Prediction::kEpsilon:
      return noise;
    case Prediction::kSample:
      return x0;
    case Prediction::kVelocity:
      break;
  }
  return velocity(x0, noise, t);
}

std::vector<float> NoiseSchedule::sigmas() const {
  const at::Tensor alpha = alphas_cumprod.masked_fill(alphas_cumprod == 0, 0x1.0p-24);
  const at::Tensor sigma = ((1.0 - alpha) / alpha).sqrt().contiguous();
  return {sigma.const_data_ptr<float>(), sigma.const_data_ptr<float>() + sigma.numel()};
}

}  // namespace readback::generate
