#include "readback/train/unified_batches.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>

#include "readback/base/error.h"
#include "readback/generate/picture_codec.h"
#include "readback/image/augment.h"
#include "readback/train/batches.h"

namespace readback::train {

namespace {

int64_t generator_side(const UnifiedBatchOptions& options, const UnifiedModels& models) {
  const int64_t factor = models.vae.config.factor();
  const int64_t side = options.resolution > 0 ? options.resolution : models.unet.config.sample_size * factor;
  if (side % factor == 0) return side;
  throw UsageError(describe("resolution", fmt::format("a multiple of {}", factor), std::to_string(side)));
}

std::vector<std::string> captions_of(const std::vector<BatchRow>& rows) {
  std::vector<std::string> captions;
  for (const BatchRow& row : rows) captions.push_back(row.caption);
  return captions;
}

}  // namespace

UnifiedBatches::UnifiedBatches(const UnifiedBatchOptions& options, const UnifiedOptions& objective,
                               const ModelPair& pair, const Ranks& ranks)
    : options_(options),
      objective_(objective),
      pair_(pair),
      ranks_(ranks),
      cache_(static_cast<int64_t>(options.cache_gigabytes * (1 << 30))),
      side_(generator_side(options, pair.models())) {
  const std::string vision = kCaptionerPrefix + std::string(pair.tunable_captioner().vision);
  trains_vision_ =
      std::ranges::any_of(pair.parameters(), [&](const auto& entry) { return entry.first.starts_with(vision); });
}

TextCycleBatch UnifiedBatches::text_cycle(std::vector<BatchRow>& rows) {
  std::vector<std::string> texts;
  std::vector<at::Tensor> latents, noise, step_noise;
  std::vector<int64_t> timesteps;
  const bool paper = objective_.objective == Objective::kPaper;
  for (BatchRow& row : rows) {
    texts.push_back(row.random.uniform() < options_.unconditional ? "" : row.caption);
    latents.push_back(draw_latents(row.picture, row.random));
    noise.push_back(normal_like(latents.back(), row.random));
    timesteps.push_back(draw_timestep(row.random));
    if (paper) step_noise.push_back(normal_like(latents.back(), row.random));
  }
  TextCycleBatch batch{.latents = stacked(latents),
                       .noise = stacked(noise),
                       .timesteps = at::tensor(timesteps, at::kLong),
                       .text = conditions(texts),
                       // An estimate is one piece, whatever the captioner would make of a picture.
                       .captions = caption_batch(pair_.models().captioner, captions_of(rows),
                                                 std::vector<PictureSize>(rows.size()), pair_.device()),
                       .step_noise = paper ? stacked(step_noise) : at::Tensor()};
  batch.share = share_of(batch.captions);
  if (objective_.reading == Reading::kDraft && objective_.lm_weight > 0) batch.draft = draft_of(rows, latents.front());
  return batch;
}

DraftBatch UnifiedBatches::draft_of(std::vector<BatchRow>& rows, const at::Tensor& latents) {
  std::vector<at::Tensor> noise;
  std::vector<std::string> texts;
  for (BatchRow& row : rows) {
    noise.push_back(normal_like(latents, row.random));
    texts.push_back(row.caption);
  }
  return {.noise = stacked(noise), .text = text_states(texts), .empty = text_states({""})};
}

ImageCycleBatch UnifiedBatches::image_cycle(std::vector<BatchRow>& rows) {
  ImageCycleBatch batch{.captions = captions(rows, captions_of(rows))};
  batch.share = share_of(batch.captions);
  batch.images = images(rows, batch.pixels);
  if (objective_.diffusion_weight <= 0 && objective_.policy.weight <= 0) return batch;
  std::vector<at::Tensor> latents, noise;
  std::vector<int64_t> timesteps;
  for (BatchRow& row : rows) {
    latents.push_back(draw_latents(row.picture, row.random));
    for (int64_t draw = 0; draw < options_.draws; ++draw) {
      noise.push_back(normal_like(latents.back(), row.random));
      timesteps.push_back(draw_timestep(row.random));
    }
  }
  batch.latents = stacked(latents);
  batch.noise = stacked(noise);
  batch.timesteps = at::tensor(timesteps, at::kLong);
  return batch;
}

caption::Pictures UnifiedBatches::images(std::vector<BatchRow>& rows, at::Tensor& pixels) {
  caption::Pictures pictures;
  for (size_t row = 0; row < rows.size(); ++row) pictures.rows.push_back(static_cast<int64_t>(row));
  if (!trains_vision_ && options_.degradation <= 0 && options_.augmentation == Augmentation::kNone) {
    for (const BatchRow& row : rows) pictures.sets.push_back(image_state(row.picture));
    return pictures;
  }
  const caption::TokenCaptioner& captioner = pair_.models().captioner;
  for (BatchRow& row : rows) pictures.sets.push_back(changed_picture(row));
  const at::Tensor changed = normalise(at::cat(pictures.sets), captioner.preprocessing()).to(pair_.device());
  if (trains_vision_) pixels = changed;
  c10::AutoGradMode with_gradients(trains_vision_);
  return look_at(captioner, changed, pictures);
}

// [2, c, h, w]: mean and deviation of the scaled latents, on the CPU
at::Tensor UnifiedBatches::moments(const Picture& picture) {
  return cache_.get("latents " + picture.name, [&] {
    c10::NoGradGuard no_grad;
    const at::Tensor pixels = generate::to_pixels(picture.load(), side_, side_).unsqueeze(0);
    const generate::LatentDistribution latents = generate::encode(pair_.models().vae, pixels);
    return at::cat({latents.mean, latents.deviation}).cpu().contiguous();
  });
}

at::Tensor UnifiedBatches::image_state(const Picture& picture) {  // [N, P, C]
  return cache_.get("image " + picture.name, [&] {
    c10::NoGradGuard no_grad;
    const caption::TokenCaptioner& captioner = pair_.models().captioner;
    std::vector<at::Tensor> pixels;
    for (const image::Image& piece : captioner.pieces(picture.load())) {
      pixels.push_back(image::preprocess(piece, captioner.preprocessing()));
    }
    return captioner.patches(at::stack(pixels));
  });
}

// 0 × 0 where it does not matter.
PictureSize UnifiedBatches::size_of(const Picture& picture) {
  if (!pair_.models().captioner.about().reads_sizes) return {};
  const at::Tensor size = cache_.get("size " + picture.name, [&] {
    const image::Image image = picture.load();
    return at::tensor({image.width, image.height}, at::kLong);
  });
  return {size[0].item<int64_t>(), size[1].item<int64_t>()};
}

// [N, 3, S, S] in [0, 1]: augmented and degraded, as the options say
at::Tensor UnifiedBatches::changed_picture(BatchRow& row) const {
  const caption::TokenCaptioner& captioner = pair_.models().captioner;
  image::PreprocessOptions unnormalised = captioner.preprocessing();
  unnormalised.do_normalize = false;
  image::Image picture = row.picture.load();
  if (options_.augmentation == Augmentation::kBlip) {
    const int64_t side = captioner.about().image_size;
    picture = captioner.about().reads_sizes ? image::augment(picture, picture.width, picture.height, row.random)
                                            : image::augment(picture, side, side, row.random);
  }
  std::vector<at::Tensor> pixels;
  for (const image::Image& piece : captioner.pieces(picture)) pixels.push_back(image::preprocess(piece, unnormalised));
  return degrade(at::stack(pixels), options_.degradation, row.random);
}

models::UnetConditions UnifiedBatches::conditions(const std::vector<std::string>& texts) {
  const UnifiedModels& models = pair_.models();
  const int64_t rows = std::ssize(texts);
  models::UnetConditions conditions{.guidance = at::full({rows}, models.guidance, at::kFloat).to(pair_.device())};
  if (models.second_text_encoder == nullptr) {
    conditions.text = text_states(texts);
    return conditions;
  }
  // Both readers' states before their last layers, side by side, and the second's projection as one vector.
  std::vector<at::Tensor> states, pooled;
  for (const std::string& text : texts) {
    const at::Tensor both = cache_.get("pair " + text, [&] {  // [T + 1, D], the vector padded to their width
      c10::NoGradGuard no_grad;
      const auto read = [&](const models::ClipTextModel& reader, const text::Tokenizer& tokenizer,
                            const text::Framing& framing) {
        return reader.forward(at::tensor(framing(tokenizer.encode(text)).ids).unsqueeze(0).to(pair_.device()));
      };
      const models::ClipTextModelWithProjection& second = *models.second_text_encoder;
      const models::ClipOutput one = read(models.text_encoder, pair_.generator_tokenizer(), models.framing),
                               two = read(second.text_model, pair_.second_tokenizer(), models.second_framing);
      const at::Tensor side_by_side = at::cat({one.penultimate, two.penultimate}, -1).squeeze(0);
      const at::Tensor vector = second.text_projection(two.pooler_output);  // [1, P]
      const at::Tensor all =
          at::cat({side_by_side, at::constant_pad_nd(vector, {0, side_by_side.size(1) - vector.size(1)})});
      return text.empty() && models.zeros_for_empty_text ? at::zeros_like(all) : all;
    });
    states.push_back(both.slice(0, 0, -1));
    pooled.push_back(both.select(0, -1).slice(0, 0, models.second_text_encoder->config.projection_dim));
  }
  conditions.text = at::stack(states);
  conditions.pooled_text = at::stack(pooled);
  // A picture counts as one whose original had its size and was not cropped, as generating asks for it.
  conditions.sizes = at::tensor({side_, side_, int64_t{0}, int64_t{0}, side_, side_}).expand({rows, 6});
  return conditions;
}

at::Tensor UnifiedBatches::text_states(const std::vector<std::string>& texts) {
  const UnifiedModels& models = pair_.models();
  std::vector<at::Tensor> rows;
  int64_t longest = 0;
  for (const std::string& text : texts) {
    const text::Padded padded = models.framing(pair_.generator_tokenizer().encode(text));
    longest = std::max(longest, padded.tokens);
    rows.push_back(cache_.get("text " + text, [&] {
      const at::Tensor ids = at::tensor(padded.ids, at::kLong).unsqueeze(0);
      return text_states_of(models, ids.to(pair_.device())).squeeze(0);
    }));
  }
  const at::Tensor states = at::stack(rows);
  return objective_.objective == Objective::kPaper ? states.narrow(1, 0, longest) : states;
}

at::Tensor UnifiedBatches::draw_latents(const Picture& picture, Random& random) {
  const at::Tensor both = moments(picture);
  return both[0] + both[1] * normal_like(both[0], random);
}

int64_t UnifiedBatches::draw_timestep(Random& random) const { return random.below(pair_.models().schedule.steps()); }

CaptionBatch UnifiedBatches::captions(const std::vector<BatchRow>& rows, const std::vector<std::string>& texts) {
  std::vector<PictureSize> sizes;
  for (size_t i = 0; i < texts.size(); ++i) sizes.push_back(size_of(rows[i / (texts.size() / rows.size())].picture));
  return caption_batch(pair_.models().captioner, texts, sizes, pair_.device());
}

Share UnifiedBatches::share_of(const CaptionBatch& captions) const {
  if (ranks_.size() == 1) return {};
  const auto tokens = static_cast<double>(captions.labels.ge(0).sum().item<int64_t>());
  return {.rows = 1.0 / static_cast<double>(ranks_.size()), .tokens = tokens / ranks_.sum(tokens)};
}

at::Tensor UnifiedBatches::stacked(const std::vector<at::Tensor>& rows) const {
  return at::stack(rows).to(pair_.device());
}

}  // namespace readback::train
