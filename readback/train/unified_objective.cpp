#include "readback/train/unified_objective.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "readback/base/error.h"
#include "readback/generate/denoiser.h"
#include "readback/generate/picture_codec.h"
#include "readback/train/batches.h"

namespace readback::train {

namespace {

at::Tensor resize(const at::Tensor& pixels, int64_t side, bool antialias) {
  if (pixels.size(2) == side && pixels.size(3) == side) return pixels;
  return antialias ? at::_upsample_bilinear2d_aa(pixels, {side, side}, /*align_corners=*/false)
                   : at::upsample_bilinear2d(pixels, {side, side}, /*align_corners=*/false);
}

// One factor for each of B pictures.
at::Tensor per_picture(const at::Tensor& factors, const at::Tensor& like) {
  return factors.to(like.device()).view({-1, 1, 1, 1});
}

// How much each of the estimates at `t` counts when it is read: fp32 [B] on the CPU.
at::Tensor reading_weights(const generate::NoiseSchedule& schedule, const at::Tensor& t,
                           const UnifiedOptions& options) {
  const TimestepRange range = options.read_timesteps;
  const at::Tensor inside = t.ge(range.first).logical_and(t.le(range.last)).to(at::kFloat);
  if (options.read_snr_gamma <= 0) return inside;
  return inside * schedule.signal_to_noise(t).clamp_max(options.read_snr_gamma) / options.read_snr_gamma;
}

void check(const UnifiedOptions& options) {
  check_options(options);
  const auto [first, last] = options.read_timesteps;
  if (last < first) {
    throw UsageError(describe("read_last", fmt::format("read_first, {}, or more", first), fmt::format("{}", last)));
  }
  if (options.reading == Reading::kDraft) {
    check(options.draft);
    if (options.objective != Objective::kUnified) {
      throw UsageError(describe("reading draft", "objective unified", "paper, whose pictures are estimates"));
    }
  }
}

at::Tensor without_gradients(const std::function<at::Tensor()>& compute) {
  c10::NoGradGuard no_grad;
  return compute();
}

}  // namespace

UnifiedObjective::UnifiedObjective(UnifiedModels models, UnifiedOptions options, const StartingModels* start)
    : models_(std::move(models)),
      options_(std::move(options)),
      start_(start),
      soft_tokens_(models_.bridge, models_.text_encoder.token_embedding.weight, options_.soft_tokens) {
  check(options_);
  if (options_.anchor.kl > 0 && start_ == nullptr) {
    throw UsageError(describe("an anchor", "the starting models", "none"));
  }
}

caption::Pictures look_at(const caption::TokenCaptioner& captioner, const at::Tensor& pixels,
                          const caption::Pictures& images) {
  std::vector<int64_t> counts;
  for (const at::Tensor& set : images.sets) counts.push_back(set.size(0));
  return {captioner.patches(pixels).split_with_sizes(counts), images.rows};
}

at::Tensor text_states_of(const UnifiedModels& models, const at::Tensor& ids) {
  c10::NoGradGuard no_grad;
  return models.text_encoder.forward(ids).last_hidden_state;
}

UnifiedLoss UnifiedObjective::text_cycle(const TextCycleBatch& batch) const {
  const at::Tensor noisy = models_.schedule.add_noise(batch.latents, batch.noise, batch.timesteps);
  const at::Tensor predicted = predict(models_.unet, noisy, batch.timesteps, batch.text);
  UnifiedLoss loss;
  loss.diffusion = batch.share.rows * diffusion_loss(predicted, batch.latents, batch.noise, batch.timesteps);
  loss.total = loss.diffusion;
  if (options_.lm_weight > 0) {
    loss.lm = batch.share.tokens * reading_loss(batch, noisy, predicted);
    loss.total = loss.diffusion + options_.lm_weight * loss.lm;
  }
  if (options_.anchor.kl > 0 && start_->unet_is_trained()) {
    const at::Tensor before =
        without_gradients([&] { return predict(start_->unet(), noisy, batch.timesteps, batch.text); });
    loss.anchor = batch.share.rows * (predicted - before).square().mean();
    loss.total = loss.total + options_.anchor.kl * loss.anchor;
  }
  return loss;
}

UnifiedLoss UnifiedObjective::image_cycle(const ImageCycleBatch& batch) const {
  const at::Tensor logits = models_.captioner.logits(batch.images, batch.captions.texts);
  UnifiedLoss loss;
  loss.lm = batch.share.tokens * caption_loss(logits, batch.captions.labels, models_.label_smoothing);
  loss.total = loss.lm;
  if (options_.diffusion_weight > 0) {
    const int64_t draws = batch.noise.size(0) / batch.latents.size(0);
    const at::Tensor text = soft_text(logits, batch.captions.labels).repeat_interleave(draws, 0);
    models_.release(Part::kCaptioner);
    models_.release(Part::kTextEncoder);
    release_after_gradient(text, Part::kUnet);
    const at::Tensor latents = batch.latents.repeat_interleave(draws, 0);
    const at::Tensor noisy = models_.schedule.add_noise(latents, batch.noise, batch.timesteps);
    loss.diffusion = batch.share.rows * diffusion_loss(predict(models_.unet, noisy, batch.timesteps, {.text = text}),
                                                       latents, batch.noise, batch.timesteps);
    loss.total = loss.lm + options_.diffusion_weight * loss.diffusion;
  }
  if (options_.anchor.kl > 0 && start_->captioner_is_trained()) {
    const at::Tensor before = without_gradients([&] { return start_logits(batch); });
    loss.anchor = batch.share.tokens * caption_divergence(before, logits, batch.captions.labels);
    loss.total = loss.total + options_.anchor.kl * loss.anchor;
  }
  if (options_.policy.weight > 0) {
    loss.policy = batch.share.rows * policy_loss(models_.captioner, batch.images, batch.policy);
    loss.total = loss.total + options_.policy.weight * loss.policy;
  }
  return loss;
}

at::Tensor UnifiedObjective::soft_text(const at::Tensor& logits, const at::Tensor& labels) const {
  const models::ClipTextModel& encoder = models_.text_encoder;
  const bool paper = options_.objective == Objective::kPaper;
  // The first logits are those of the caption's first token, which has place 1 behind the begin token.
  const int64_t room = models_.framing.length - 2;
  const int64_t count = std::min(logits.size(1), room);
  const at::Tensor soft = soft_tokens_(logits.narrow(1, 0, count), options_.temperature);
  const int64_t batch = soft.size(0), length = paper ? count + 2 : room + 2;

  // Labels are the caption and its end token.
  const at::Tensor tokens =
      paper ? at::full({batch}, count, labels.options()) : labels.ge(0).sum(1).sub(1).clamp_max(count);  // [B]
  const at::Tensor place = at::arange(length, labels.options()).unsqueeze(0), last = tokens.unsqueeze(1) + 1;
  const at::Tensor hard_ids = at::full({batch, length}, models_.framing.padding, labels.options())
                                  .masked_fill(place.eq(0), models_.framing.begin)
                                  .masked_fill(place.eq(last), models_.framing.end);
  const at::Tensor is_soft = place.ge(1).logical_and(place.lt(last)).unsqueeze(2);  // [B, T', 1]
  const at::Tensor padded = at::constant_pad_nd(soft, {0, 0, 1, length - 1 - count});
  const at::Tensor embeddings = at::where(is_soft, padded, encoder.token_embedding(hard_ids));
  return encoder.forward_embeddings(embeddings, last.squeeze(1)).last_hidden_state;
}

// The starting captioner's logits of the very captions, [B, T, V].
at::Tensor UnifiedObjective::start_logits(const ImageCycleBatch& batch) const {
  const caption::TokenCaptioner& start = start_->captioner();
  const caption::Pictures images = batch.pixels.defined() ? look_at(start, batch.pixels, batch.images) : batch.images;
  return start.logits(images, batch.captions.texts);
}

at::Tensor UnifiedObjective::predict(const models::Unet& unet, const at::Tensor& noisy, const at::Tensor& timesteps,
                                     const models::UnetConditions& conditions) const {
  return generate::UnetDenoiser(unet, conditions).predict(noisy, timesteps);
}

at::Tensor UnifiedObjective::diffusion_loss(const at::Tensor& predicted, const at::Tensor& latents,
                                            const at::Tensor& noise, const at::Tensor& timesteps) const {
  const at::Tensor error = (predicted - models_.schedule.target(latents, noise, timesteps)).square().mean({1, 2, 3});
  if (options_.snr_gamma <= 0) return error.mean();
  return (error * min_snr_weights(models_.schedule, timesteps, options_.snr_gamma).to(error.device())).mean();
}

at::Tensor UnifiedObjective::reading_loss(const TextCycleBatch& batch, const at::Tensor& noisy,
                                          const at::Tensor& predicted) const {
  const at::Tensor learned = batch.captions.labels.slice(1, 1).ge(0).sum();
  if (options_.reading == Reading::kDraft) {
    const at::Tensor latents = draft(models_.unet, models_.scheduler, batch.draft, options_.draft);
    return read(latents, batch.captions, at::ones({latents.size(0)}, at::kFloat)) / learned;
  }
  const at::Tensor weights = reading_weights(models_.schedule, batch.timesteps, options_);
  const at::Tensor rows = weights.nonzero().squeeze(1);
  if (rows.numel() == 0) return at::zeros({}, predicted.options());
  const auto chosen = [&rows](const at::Tensor& x) { return x.index_select(0, rows.to(x.device())); };

  const at::Tensor t = chosen(batch.timesteps), output = chosen(predicted);
  const at::Tensor latents = options_.objective == Objective::kPaper
                                 ? previous_sample(output, t, chosen(batch.latents), chosen(batch.step_noise))
                                 : models_.schedule.clean(chosen(noisy), output, t);
  const caption::Texts& texts = batch.captions.texts;
  CaptionBatch captions{{.ids = chosen(texts.ids)}, chosen(batch.captions.labels)};
  if (texts.source_ids.defined()) captions.texts.source_ids = chosen(texts.source_ids);
  for (int64_t i = 0; i < rows.numel(); ++i) {
    captions.texts.known.push_back(texts.known[static_cast<size_t>(rows[i].item<int64_t>())]);
  }
  return read(latents, captions, chosen(weights)) / learned;
}

// The captioner's surprise at R captions when it reads the decoded latents, summed over their learned tokens; each
// caption counts by its weight, fp32 [R].
at::Tensor UnifiedObjective::read(const at::Tensor& latents, const CaptionBatch& captions,
                                  const at::Tensor& weights) const {
  const at::Tensor& labels = captions.labels;
  models_.release(Part::kUnet);
  const at::Tensor pixels = as_pixels(latents);
  release_after_gradient(pixels, Part::kCaptioner);
  const at::Tensor logits =
      models_.captioner.logits(one_each(models_.captioner.patches(pixels)), captions.texts);  // [R, L + 1, V]
  const at::Tensor predictions = logits.slice(1, 0, -1).flatten(0, 1).to(at::kFloat);
  const at::Tensor losses = at::cross_entropy_loss(predictions, labels.slice(1, 1).flatten(), {}, at::Reduction::None,
                                                   -100, models_.label_smoothing)
                                .view({labels.size(0), -1});  // [R, L], 0 where nothing is learned
  return (losses * weights.to(losses.device()).unsqueeze(1)).sum();
}

// Releases `part` when its backward pass has brought the gradient of its input `x`.
void UnifiedObjective::release_after_gradient(const at::Tensor& x, Part part) const {
  if (x.requires_grad()) x.register_hook([this, part](const at::Tensor&) { models_.release(part); });
}

at::Tensor UnifiedObjective::as_pixels(const at::Tensor& latents) const {
  const at::Tensor decoded = generate::decode(models_.vae, latents).to(at::kFloat);  // [R, 3, H, W], about [-1, 1]
  const int64_t side = models_.captioner.about().image_size;
  if (options_.objective == Objective::kPaper) return resize(decoded, side, /*antialias=*/false);
  return normalise(resize(decoded / 2 + 0.5, side, /*antialias=*/true), models_.captioner.preprocessing());
}

// DDPM's step (https://arxiv.org/abs/2006.11239, formula 7) as diffusers' DDPMScheduler takes it, "fixed_small".
at::Tensor UnifiedObjective::previous_sample(const at::Tensor& predicted, const at::Tensor& timesteps,
                                             const at::Tensor& sample, const at::Tensor& noise) const {
  const at::Tensor& alphas = models_.schedule.alphas_cumprod;
  const at::Tensor alpha = alphas.index_select(0, timesteps);
  const at::Tensor before = at::where(timesteps.gt(0), alphas.index_select(0, (timesteps - 1).clamp_min(0)), 1.0);
  const at::Tensor step = alpha / before;
  at::Tensor clean = models_.schedule.clean(sample, predicted, timesteps);
  if (models_.clip_sample) clean = clean.clamp(-1.0, 1.0);
  const at::Tensor of_clean = before.sqrt() * (1 - step) / (1 - alpha);
  const at::Tensor of_sample = step.sqrt() * (1 - before) / (1 - alpha);
  const at::Tensor variance = ((1 - before) / (1 - alpha) * (1 - step)).clamp_min(1e-20) * timesteps.gt(0);
  return per_picture(of_clean, sample) * clean + per_picture(of_sample, sample) * sample +
         per_picture(variance.sqrt(), sample) * noise;
}

}  // namespace readback::train
