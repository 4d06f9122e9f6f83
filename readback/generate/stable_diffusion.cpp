#include "readback/generate/stable_diffusion.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "readback/base/device.h"
#include "readback/base/error.h"
#include "readback/base/machine.h"
#include "readback/generate/denoising_error.h"
#include "readback/generate/latents.h"
#include "readback/generate/picture_codec.h"

namespace readback::generate {

namespace {

constexpr int64_t kErrorTimesteps = 8;  // of a denoising error
constexpr int64_t kSmallModelBytes = int64_t{64} << 20;
// Latent positions that are denoised together: enough to fill the machine; more would only take memory.
constexpr int64_t kPositionsOnCpu = 64 * 64, kPositionsOnGpu = 16 * 64 * 64;

Random stream_of(const Request& request, const GenerationOptions& options, Purpose purpose) {
  return Random(options.seed, purpose, request.sample, static_cast<uint64_t>(request.candidate));
}

// Stable Diffusion XL's pipeline decodes in float32 where the VAE would overflow.
c10::ScalarType vae_type(const checkpoint::Repository& repository, bool is_xl, c10::ScalarType dtype) {
  if (!is_xl || dtype != at::kHalf) return dtype;
  return models::VaeConfig::read(models::part_config(repository, "vae")).force_upcast ? at::kFloat : dtype;
}

TextEncoder load_text_encoder(const checkpoint::Repository& repository, bool is_xl, c10::Device device,
                              c10::ScalarType dtype) {
  return is_xl ? TextEncoder::pair(repository, device, dtype) : TextEncoder(repository, device, dtype);
}

}  // namespace

StableDiffusion::StableDiffusion(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype)
    : StableDiffusion(repository, stable_diffusion_family_index(repository), device, dtype) {}

StableDiffusion::StableDiffusion(const checkpoint::Repository& repository, ModelIndex index, c10::Device device,
                                 c10::ScalarType dtype)
    : kind_(kind_of(index)),
      description_(fmt::format("{} {}, {}", kind_.label, repository.title(), dtype_name(dtype))),
      identity_(repository.digest()),
      device_(device),
      scheduler_config_(read_scheduler_config(repository)),
      step_defaults_(step_defaults(kind_, repository.name(), scheduler_config_)),
      zeros_for_empty_prompt_(kind_.is_xl && index.flag("force_zeros_for_empty_prompt", true)),
      text_encoder_(load_text_encoder(repository, kind_.is_xl, device, dtype)),
      unet_(models::load_part<models::Unet>(repository, "unet", device, dtype)),
      vae_(models::load_part<models::Vae>(repository, "vae", device, vae_type(repository, kind_.is_xl, dtype))) {
  if (index.has("safety_checker")) safety_.emplace(repository, device, dtype);
}

Capabilities StableDiffusion::capabilities() const {
  return {.honours_seeds = true,
          .denoising_errors = true,
          .latents = true,
          .concurrent = true,
          .max_prompt_tokens = text_encoder_.max_tokens()};
}

GenerationOptions StableDiffusion::defaults() const {
  const int64_t side = unet_.model->config.sample_size * vae_.model->config.factor();
  return {.num_inference_steps = step_defaults_.num_inference_steps,
          .guidance_scale = step_defaults_.guidance_scale,
          .scheduler = scheduler_name(scheduler_config_),
          .height = side,
          .width = side};
}

std::vector<Result<Picture>> StableDiffusion::generate(std::span<const Request> requests,
                                                       const GenerationOptions& options, const Context& context) {
  if (requests.empty()) return {};
  expect_drawable(requests, *this);
  const GenerationOptions resolved = resolve(options, *this);
  std::vector<Result<Picture>> results;
  for (Picture& picture : on_engine([&] { return draw(requests, resolved, context); })) {
    if (resolved.latents_only || !picture.image.pixels.empty()) {
      results.emplace_back(std::move(picture));
    } else {
      results.emplace_back(Failure{describe("drawing", "a picture", "numbers that are not finite",
                                            "The type may be too narrow for this model: use bfloat16 or float32")});
    }
  }
  return results;
}

std::vector<Picture> StableDiffusion::draw(std::span<const Request> requests, const GenerationOptions& options,
                                           const Context& context) const {
  c10::NoGradGuard no_grad;
  const at::Tensor latents = initial_noise(requests, options);
  const TextStates texts = read_texts(requests, options);
  denoise(requests, options, texts, latents, context);

  std::vector<Picture> pictures(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    pictures[i].seed = derive_seed(options.seed, Purpose::kPictureSeed, requests[i].sample,
                                   static_cast<uint64_t>(requests[i].candidate));
    pictures[i].latents = to_latents(latents[static_cast<int64_t>(i)]);
    pictures[i].truncated_tokens = texts.truncated[texts.truncated.size() - requests.size() + i];
  }
  if (options.latents_only) return pictures;
  std::vector<image::Image> images = decode_pictures(*vae_.model, latents);
  std::vector<bool> flagged(images.size(), false);
  for (size_t i = 0; safety_ && i < images.size(); ++i) {
    if (!images[i].pixels.empty()) flagged[i] = safety_->flagged({images[i]}).front();
  }
  for (size_t i = 0; i < requests.size(); ++i) {
    pictures[i].flagged = flagged[i];
    pictures[i].image = flagged[i] ? image::Image(images[i].width, images[i].height) : std::move(images[i]);
  }
  return pictures;
}

bool StableDiffusion::is_guided(const GenerationOptions& options) const {
  return *options.guidance_scale > 1.0 && unet_.model->config.time_cond_proj_dim == 0;
}

// The requests' prompts, and with guidance the negative prompt before them.
TextStates StableDiffusion::read_texts(std::span<const Request> requests, const GenerationOptions& options) const {
  if (kind_.is_told_guidance && !options.negative_prompt.empty()) {
    throw UsageError(describe("negative_prompt", std::string("none for a ") + kind_.pipeline, options.negative_prompt,
                              "Such a model was distilled from guidance with an empty negative prompt"));
  }
  if (!is_guided(options) && !options.negative_prompt.empty()) {
    throw UsageError(describe(
        "negative_prompt", "none where nothing is compared with it",
        fmt::format("'{}' with guidance_scale {}", options.negative_prompt, *options.guidance_scale),
        unet_.model->config.time_cond_proj_dim > 0 ? "This UNet is told its guidance: leave negative_prompt out"
                                                   : "Leave it out, or take a guidance_scale above 1"));
  }
  std::vector<std::string> prompts(is_guided(options) ? 1 : 0, options.negative_prompt);
  for (const Request& request : requests) prompts.push_back(request.prompt);
  TextStates texts = text_encoder_.encode(prompts);
  if (is_guided(options) && zeros_for_empty_prompt_ && options.negative_prompt.empty()) {
    texts.rows.front() = texts.states.size(0);
    const auto with_zeros = [](const at::Tensor& x) { return at::cat({x, at::zeros_like(x.narrow(0, 0, 1))}); };
    texts.states = with_zeros(texts.states);
    texts.pooled = with_zeros(texts.pooled);
  }
  return texts;
}

// A picture is asked for as one whose original had its size and was not cropped.
models::UnetConditions StableDiffusion::conditions(const TextStates& texts, const GenerationOptions& options) const {
  const int64_t rows = texts.states.size(0), height = *options.height, width = *options.width;
  return {.text = texts.states,
          .guidance = at::full({rows}, *options.guidance_scale, at::kFloat),
          .pooled_text = texts.pooled,
          .sizes = at::tensor({height, width, int64_t{0}, int64_t{0}, height, width}).expand({rows, 6})};
}

// [B, c, h, w], the requests' own where they bring some.
at::Tensor StableDiffusion::initial_noise(std::span<const Request> requests, const GenerationOptions& options) const {
  const int64_t factor = vae_.model->config.factor();
  const int64_t height = *options.height, width = *options.width;
  if (height % factor != 0 || width % factor != 0) {
    throw UsageError(
        describe("height and width", fmt::format("multiples of {}", factor), fmt::format("{} and {}", height, width)));
  }
  const std::vector<int64_t> shape = {unet_.model->config.in_channels, height / factor, width / factor};
  std::vector<at::Tensor> noise;
  for (const Request& request : requests) {
    if (request.latents.empty()) {
      Random stream = stream_of(request, options, Purpose::kInitialNoise);
      noise.push_back(normal(stream, shape));
      continue;
    }
    if (request.latents.shape != shape) {
      throw UsageError(describe("initial latents", fmt::format("[{}]", fmt::join(shape, ", ")),
                                fmt::format("[{}]", fmt::join(request.latents.shape, ", "))));
    }
    noise.push_back(to_tensor(request.latents));
  }
  return at::stack(noise).to(device_);
}

// One event a request. A preview is the estimate of the finished picture, at an eighth of the cost or less.
void StableDiffusion::tell(const SamplerStep& step, std::span<const Request> requests, const Context& context) const {
  Observer* const observer = context.observer();
  if (observer == nullptr) return;
  constexpr int64_t kPreviewSide = 16;  // latent positions
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto preview = [&, i] {
      c10::NoGradGuard no_grad;
      const at::Tensor estimate = step.estimate().narrow(0, static_cast<int64_t>(i), 1);
      const std::vector<int64_t> size = {std::min(kPreviewSide, estimate.size(2)),
                                         std::min(kPreviewSide, estimate.size(3))};
      return decode_pictures(*vae_.model, at::adaptive_avg_pool2d(estimate, size)).front();
    };
    observer->on_step({requests[i].sample, requests[i].candidate, step.index + 1, step.count, preview});
  }
}

// `latents`: from noise to finished. `texts`: the requests', and with guidance the negative prompt's before them.
void StableDiffusion::denoise(std::span<const Request> requests, const GenerationOptions& options,
                              const TextStates& texts, const at::Tensor& latents, const Context& context) const {
  const nlohmann::json scheduler_config =
      kind_.corrects_scheduler ? pipeline_scheduler_config(scheduler_config_, *options.scheduler) : scheduler_config_;
  const Sampler sampler(*options.scheduler, scheduler_config, *options.num_inference_steps);
  const UnetDenoiser denoiser(*unet_.model, conditions(texts, options));
  const auto request_rows = texts.rows.end() - std::ssize(requests);
  const auto denoise_share = [&](int64_t first, int64_t last) {
    context.check();
    c10::NoGradGuard no_grad_in_this_thread;
    const auto count = static_cast<size_t>(last - first);
    const auto own = requests.subspan(static_cast<size_t>(first), count);
    SamplerOptions sampling{.on_step = [&](const SamplerStep& step) {
      context.check();
      tell(step, own, context);
    }};
    std::vector<int64_t> rows;
    if (is_guided(options)) {
      sampling.guidance = *options.guidance_scale;
      rows.assign(count, texts.rows.front());
    }
    rows.insert(rows.end(), request_rows + first, request_rows + last);
    for (const Request& request : own) {
      sampling.streams.push_back(stream_of(request, options, Purpose::kSchedulerNoise));
    }
    at::Tensor share = latents.narrow(0, first, last - first);
    share.copy_(sampler.sample(denoiser.select(rows), share, sampling));
  };
  in_shares(latents.size(0), latents.size(2) * latents.size(3), denoise_share);
}

void StableDiffusion::in_shares(int64_t count, int64_t positions,
                                const std::function<void(int64_t, int64_t)>& work) const {
  if (device_.is_cpu() && unet_.bytes <= kSmallModelBytes) {
    // The layers of a small model are too short to be shared between cores: each core takes pictures of its own.
    at::parallel_for(0, count, 1, work);
    return;
  }
  const int64_t at_once = std::max<int64_t>(1, (device_.is_cpu() ? kPositionsOnCpu : kPositionsOnGpu) / positions);
  for (int64_t first = 0; first < count; first += at_once) work(first, std::min(first + at_once, count));
}

std::vector<Result<double>> StableDiffusion::denoising_errors(std::span<const image::Image* const> images,
                                                              std::span<const std::string> prompts,
                                                              const Context& context) {
  if (images.empty()) return {};
  return on_engine([&] {
    c10::NoGradGuard no_grad;
    std::vector<const image::Image*> distinct;
    std::vector<int64_t> rows;  // of each pair: its picture's
    for (const image::Image* image : images) {
      if (distinct.empty() || distinct.back() != image) distinct.push_back(image);
      rows.push_back(std::ssize(distinct) - 1);
    }
    const at::Tensor latents = latents_of(distinct).index_select(0, at::tensor(rows).to(device_));
    const NoiseSchedule schedule = NoiseSchedule::from_config(scheduler_config_);
    std::vector<at::Tensor> noise;
    std::vector<int64_t> timesteps;
    for (int64_t k = 0; k < kErrorTimesteps; ++k) {
      Random stream(0, Purpose::kDenoisingError, "", static_cast<uint64_t>(k));
      noise.push_back(normal(stream, latents.sizes().slice(1).vec()));
      timesteps.push_back((2 * k + 1) * schedule.steps() / (2 * kErrorTimesteps));
    }
    const at::Tensor noises = at::stack(noise).to(device_), times = at::tensor(timesteps);
    const TextStates texts = text_encoder_.encode(prompts);
    const UnetDenoiser denoiser(*unet_.model, conditions(texts, defaults()));
    const at::Tensor errors = at::empty({latents.size(0)}, at::kFloat);
    in_shares(latents.size(0), kErrorTimesteps * latents.size(2) * latents.size(3), [&](int64_t first, int64_t last) {
      context.check();
      c10::NoGradGuard no_grad_in_this_thread;
      const int64_t count = last - first;
      std::vector<int64_t> text_rows;
      for (int64_t i = first; i < last; ++i) text_rows.insert(text_rows.end(), kErrorTimesteps, texts.rows[i]);
      const NoisyPictures pictures{latents.narrow(0, first, count).repeat_interleave(kErrorTimesteps, 0),
                                   noises.repeat({count, 1, 1, 1}), times.repeat({count})};
      const at::Tensor share = denoising_error(denoiser.select(text_rows), schedule, pictures);
      errors.narrow(0, first, count).copy_(share.view({count, kErrorTimesteps}).mean(1));
    });
    std::vector<Result<double>> results;
    for (int64_t i = 0; i < errors.size(0); ++i) {
      const double error = errors[i].item<double>();
      if (std::isfinite(error)) {
        results.emplace_back(error);
      } else {
        results.emplace_back(Failure{describe("denoising error", "a number", "one that is not finite",
                                              "The type may be too narrow for this model: use bfloat16 or float32")});
      }
    }
    return results;
  });
}

// [B, c, h, w], fp32: the means of their distributions
at::Tensor StableDiffusion::latents_of(std::span<const image::Image* const> images) const {
  const GenerationOptions own = defaults();
  std::vector<at::Tensor> latents;
  for (const image::Image* image : images) {
    latents.push_back(encode(*vae_.model, to_pixels(*image, *own.height, *own.width).unsqueeze(0)).mean);
  }
  return at::cat(latents);
}

}  // namespace readback::generate
