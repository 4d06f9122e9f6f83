#include "readback/generate/schedulers/unclip.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "readback/base/error.h"
#include "readback/generate/schedulers/parts.h"

namespace readback::generate {

UnclipSchedule UnclipSchedule::read(checkpoint::ConfigReader config) {
  UnclipSchedule s;
  s.num_train_timesteps = config.get("num_train_timesteps", s.num_train_timesteps);
  if (s.num_train_timesteps < 2 || s.num_train_timesteps > 1'000'000) {
    throw CheckpointError(
        describe(config.where() + ": num_train_timesteps", "2 to 1,000,000", std::to_string(s.num_train_timesteps)));
  }
  const auto variance = config.get<std::string>("variance_type", "fixed_small_log");
  s.learned_range = variance == "learned_range";
  config.expect("variance_type", {"fixed_small_log", "learned_range"});
  const auto prediction = config.get<std::string>("prediction_type", "epsilon");
  s.prediction = prediction == "sample" ? Prediction::kSample : Prediction::kEpsilon;
  config.expect("prediction_type", {"epsilon", "sample"});
  s.clip = config.get("clip_sample_range", s.clip);
  if (s.clip <= 0) {
    throw CheckpointError(describe(config.where() + ": clip_sample_range", "more than 0", std::to_string(s.clip)));
  }
  if (!config.get("clip_sample", true)) s.clip = 0;
  config.expect("beta_schedule", {"squaredcos_cap_v2"});
  config.finish();
  return s;
}

UnclipScheduler::UnclipScheduler(const UnclipSchedule& schedule, int64_t steps, const char* option)
    : schedule_(schedule) {
  const int64_t most = schedule.num_train_timesteps;
  if (steps < 2 || steps > most) {
    throw UsageError(describe(option, fmt::format("2 to {}", most), std::to_string(steps)));
  }
  const at::Tensor betas = cosine_betas(most);
  betas_ = to_vector(betas);
  alphas_cumprod_ = to_vector((1.0 - betas).cumprod(0));
  const double stride = static_cast<double>(most - 1) / static_cast<double>(steps - 1);
  for (int64_t i = steps - 1; i >= 0; --i) {
    timesteps_.push_back(static_cast<float>(std::nearbyint(static_cast<double>(i) * stride)));
  }
}

at::Tensor UnclipScheduler::clean(const at::Tensor& model_output, int64_t index, const at::Tensor& sample) const {
  const at::Tensor output = schedule_.learned_range ? model_output.narrow(1, 0, sample.size(1)) : model_output;
  at::Tensor x0 = output;
  if (schedule_.prediction == Prediction::kEpsilon) {
    const float alpha = alphas_cumprod_[static_cast<size_t>(timesteps_[static_cast<size_t>(index)])];
    x0 = (sample - std::sqrt(1.0f - alpha) * output) / std::sqrt(alpha);
  }
  return schedule_.clip > 0 ? x0.clamp(-schedule_.clip, schedule_.clip) : x0;
}

at::Tensor UnclipScheduler::step(const at::Tensor& model_output, int64_t index, const at::Tensor& sample,
                                 const Noise& noise) {
  const auto t = static_cast<int64_t>(timesteps_[static_cast<size_t>(index)]);
  const int64_t previous = index + 1 < size() ? static_cast<int64_t>(timesteps_[static_cast<size_t>(index) + 1]) : -1;
  const float alpha_bar = alphas_cumprod_[static_cast<size_t>(t)];
  const float alpha_bar_previous = previous >= 0 ? alphas_cumprod_[static_cast<size_t>(previous)] : 1.0f;
  const float spread = 1.0f - alpha_bar, spread_previous = 1.0f - alpha_bar_previous;
  const float beta = previous == t - 1 ? betas_[static_cast<size_t>(t)] : 1.0f - alpha_bar / alpha_bar_previous;

  // The mean of formula 7.
  const at::Tensor mean = std::sqrt(alpha_bar_previous) * beta / spread * clean(model_output, index, sample) +
                          std::sqrt(1.0f - beta) * spread_previous / spread * sample;
  if (t == 0) return mean;
  const float variance = spread_previous / spread * beta;
  if (!schedule_.learned_range) return mean + std::sqrt(std::max(variance, 1e-20f)) * noise();
  // The network says where the logarithm of the variance lies between its least and its greatest value.
  const at::Tensor place = (model_output.narrow(1, sample.size(1), sample.size(1)) + 1) / 2;
  const at::Tensor log_variance = place * std::log(beta) + (1 - place) * std::log(variance);
  return mean + (0.5 * log_variance).exp() * noise();
}

}  // namespace readback::generate
