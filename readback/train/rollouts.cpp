#include "readback/train/rollouts.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "readback/base/error.h"
#include "readback/score/clip_embedder.h"
#include "readback/train/batches.h"

namespace readback::train {

namespace {

// What precedes each text.
std::vector<caption::Reading> prompts_of(const caption::Texts& texts) {
  const at::Tensor ids = texts.ids.cpu(),
                   source_ids = texts.source_ids.defined() ? texts.source_ids.cpu() : at::Tensor();
  const auto values = [](const at::Tensor& row, int64_t count) {
    const int64_t* const first = row.const_data_ptr<int64_t>();
    return std::vector<int64_t>(first, first + count);
  };
  std::vector<caption::Reading> prompts;
  for (int64_t row = 0; row < ids.size(0); ++row) {
    prompts.push_back({.ids = values(ids[row], texts.known[static_cast<size_t>(row)])});
    if (source_ids.defined()) prompts.back().source_ids = values(source_ids[row], source_ids.size(1));
  }
  return prompts;
}

}  // namespace

Rollouts::Rollouts(const PolicyOptions& options, const ModelPair& pair, const UnifiedBatches& batches)
    : options_(options), pair_(pair), batches_(batches) {
  check_options(options);
  if (options.clip_weight != 0 && options.clip.empty()) {
    throw UsageError(describe("policy_clip_weight", "a CLIP repository, policy_clip", "none"));
  }
  if (options.clip_weight != 0) {
    clip_ = std::make_unique<score::EmbeddingCache>(
        std::make_shared<score::ClipEmbedder>(checkpoint::Repository(options.clip), pair.device(), at::kFloat));
  }
}

PolicyBatch Rollouts::draw(const ImageCycleBatch& batch, std::vector<BatchRow>& rows, Metrics& metrics) {
  const auto images = static_cast<int64_t>(rows.size());
  const Sampled sampled = sample(batch, rows);
  const auto mean = [&](const at::Tensor& values) { return batch.share.rows * values.mean().item<double>(); };

  const at::Tensor error = errors(batch, rows, sampled.texts);
  at::Tensor reward = -error;
  metrics.emplace_back("policy_error", mean(error));
  if (clip_) {
    const at::Tensor cosine = cosines(rows, sampled.texts);
    reward = reward + options_.clip_weight * cosine;
    metrics.emplace_back("policy_clip", mean(cosine));
  }
  metrics.emplace_back("policy_reward", mean(reward));

  at::Tensor advantages = leave_one_out(reward.view({images, options_.samples}));
  const double squares = batches_.sum(advantages.square().sum().item<double>());
  const double deviation = std::sqrt(squares / batches_.sum(static_cast<double>(advantages.numel())));
  metrics.emplace_back("policy_deviation", batch.share.rows * deviation);
  if (options_.scale == AdvantageScale::kBatch && deviation > 0) advantages = advantages / deviation;
  return {sampled.captions, advantages.to(pair_.device())};
}

// N captions of each image by chance, out of the whole distribution: what is sampled otherwise would need other
// gradients.
Rollouts::Sampled Rollouts::sample(const ImageCycleBatch& batch, std::vector<BatchRow>& rows) const {
  const caption::TokenCaptioner& captioner = pair_.models().captioner;
  const std::vector<caption::Reading> prompts = prompts_of(batch.captions.texts);
  const int64_t room = captioner.about().max_positions - std::ranges::max(batch.captions.texts.known);
  const caption::DecodingOptions decoding = caption::resolve(
      {.num_captions = options_.samples, .max_new_tokens = std::min(options_.max_new_tokens, room), .do_sample = true},
      {});
  std::vector<Random> streams;
  for (BatchRow& row : rows) {
    const uint64_t seed = row.random.next64();
    for (int64_t i = 0; i < options_.samples; ++i) {
      streams.emplace_back(seed, Purpose::kRollout, "", static_cast<uint64_t>(i));
    }
  }
  Sampled sampled;
  std::vector<caption::Written> written;
  const auto drawn = captioner.decode(batch.images, prompts, decoding, streams);
  for (size_t row = 0; row < drawn.size(); ++row) {
    for (const caption::Decoded& decoded : drawn[row]) {
      written.push_back({prompts[row], std::ssize(prompts[row].ids)});
      sampled.texts.push_back(captioner.text(decoded.token_ids, written.back().known));
      written.back().reading.ids = decoded.token_ids;
    }
  }
  sampled.captions = caption_batch(written, pair_.device());
  return sampled;
}

// [B · N], on the CPU. Equal captions of an image are tried once.
at::Tensor Rollouts::errors(const ImageCycleBatch& batch, std::vector<BatchRow>& rows,
                            const std::vector<std::string>& texts) const {
  const UnifiedModels& models = pair_.models();
  std::map<std::pair<int64_t, std::string>, int64_t> places;
  std::vector<int64_t> pictures, place;
  std::vector<at::Tensor> ids;
  for (size_t i = 0; i < texts.size(); ++i) {
    const int64_t picture = static_cast<int64_t>(i) / options_.samples;
    const auto [found, is_new] = places.try_emplace({picture, texts[i]}, std::ssize(pictures));
    place.push_back(found->second);
    if (!is_new) continue;
    pictures.push_back(picture);
    ids.push_back(at::tensor(models.framing(pair_.generator_tokenizer().encode(texts[i])).ids, at::kLong));
  }
  std::vector<at::Tensor> noise;
  std::vector<int64_t> timesteps;
  for (BatchRow& row : rows) {
    for (int64_t draw = 0; draw < options_.draws; ++draw) {
      noise.push_back(normal_like(batch.latents[0], row.random));
      timesteps.push_back(row.random.below(models.schedule.steps()));
    }
  }
  const c10::Device device = pair_.device();
  const NoiseDraws draws{batch.latents, at::stack(noise).to(device), at::tensor(timesteps, at::kLong)};
  const at::Tensor states = text_states_of(models, at::stack(ids).to(device));
  const at::Tensor distinct =
      denoising_errors(models.unet, models.schedule, draws, states, at::tensor(pictures, at::kLong).to(device));
  return distinct.cpu().index_select(0, at::tensor(place, at::kLong));
}

// Of each caption and its image, [B · N], on the CPU.
at::Tensor Rollouts::cosines(const std::vector<BatchRow>& rows, const std::vector<std::string>& texts) {
  std::vector<image::Image> pictures;
  std::vector<const image::Image*> pointers;
  for (const BatchRow& row : rows) pictures.push_back(row.picture.load());
  for (const image::Image& picture : pictures) pointers.push_back(&picture);
  const at::Tensor of_images = clip_->original_images(pointers).projected.repeat_interleave(options_.samples, 0);
  return at::cosine_similarity(of_images, clip_->candidate_texts(texts).projected, 1);
}

}  // namespace readback::train
