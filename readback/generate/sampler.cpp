#include "readback/generate/sampler.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <utility>

namespace readback::generate {

Scheduler::Noise row_noise(std::vector<Random> streams, const at::Tensor& like) {
  return [streams = std::move(streams), like]() mutable {
    std::vector<at::Tensor> rows;
    for (Random& stream : streams) rows.push_back(normal(stream, like.sizes().slice(1)));
    return at::stack(rows).to(like.options());
  };
}

Sampler::Sampler(std::string scheduler, nlohmann::json scheduler_config, int64_t steps)
    : scheduler_(std::move(scheduler)), scheduler_config_(std::move(scheduler_config)), steps_(steps) {
  make_scheduler(scheduler_, scheduler_config_, steps_);  // so that a wrong option is an error here
}

at::Tensor Sampler::sample(const Denoiser& denoiser, const at::Tensor& noise, const SamplerOptions& options) const {
  const std::unique_ptr<Scheduler> scheduler = make_scheduler(scheduler_, scheduler_config_, steps_);
  at::Tensor latents = noise * scheduler->init_noise_sigma();
  const Scheduler::Noise added_noise = row_noise(options.streams, latents);
  for (int64_t i = 0; i < scheduler->size(); ++i) {
    const c10::AutoGradMode with_gradients(c10::GradMode::is_enabled() &&
                                           i >= scheduler->size() - options.gradient_steps);
    const at::Tensor input = scheduler->scale_model_input(latents, i), typed = input.to(denoiser.dtype());
    const at::Tensor batch = options.guidance ? at::cat({typed, typed}) : typed;  // [B or 2B, c, h, w]
    const at::Tensor timesteps = at::full({batch.size(0)}, scheduler->timesteps()[static_cast<size_t>(i)],
                                          at::TensorOptions(at::kFloat).device(batch.device()));
    at::Tensor output = denoiser.predict(batch, timesteps);
    if (options.guidance) {
      const std::vector<at::Tensor> halves = output.chunk(2);
      output = halves[0] + *options.guidance * (halves[1] - halves[0]);
    }
    latents = scheduler->step(output, i, latents, added_noise);
    if (options.on_step) {
      options.on_step({i, scheduler->size(), latents, [&] { return estimate(*scheduler, i, input, output); }});
    }
  }
  return latents;
}

// `input`, what the network saw, is √ᾱ x_0 + √(1 - ᾱ) ε with every scheduler.
at::Tensor Sampler::estimate(const Scheduler& scheduler, int64_t index, const at::Tensor& input,
                             const at::Tensor& output) const {
  c10::NoGradGuard no_grad;
  const auto i = static_cast<size_t>(index);
  const at::Tensor none = at::zeros({1}, at::kLong);
  if (scheduler.sigmas().empty()) {
    return scheduler.schedule().clean(input, output, none + static_cast<int64_t>(scheduler.timesteps()[i]));
  }
  const float sigma = scheduler.sigmas()[i];
  const NoiseSchedule here{at::tensor({1.0f / (sigma * sigma + 1.0f)}), scheduler.schedule().prediction};
  return here.clean(input, output, none);
}

at::Tensor normal(Random& random, at::IntArrayRef shape) {
  at::Tensor values = at::empty(shape, at::kFloat);
  random.fill_normal({values.data_ptr<float>(), static_cast<size_t>(values.numel())});
  return values;
}

}  // namespace readback::generate
