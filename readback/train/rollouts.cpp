#include "readback/train/rollouts.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "readback/base/error.h"
#include "readback/caption/blip_captioner.h"
#include "readback/score/clip_embedder.h"
#include "readback/train/batches.h"

namespace readback::train {

namespace {

std::vector<int64_t> prompt_of(const ModelPair& pair) {
  std::vector<int64_t> prompt = {pair.models().captioner.config.text.bos_token_id};
  for (const int64_t id : pair.captioner_tokenizer().encode(caption::kBlipPrompt)) prompt.push_back(id);
  return prompt;
}

// Begin token, prompt, caption and, where it was reached, the end token; padded.
CaptionBatch as_batch(const std::vector<std::vector<int64_t>>& sequences, int64_t prompt, int64_t padding) {
  size_t longest = 0;
  for (const auto& sequence : sequences) longest = std::max(longest, sequence.size());
  const std::vector<int64_t> shape = {std::ssize(sequences), static_cast<int64_t>(longest)};
  CaptionBatch batch{at::full(shape, padding, at::kLong), at::full(shape, -100, at::kLong)};
  for (size_t row = 0; row < sequences.size(); ++row) {
    const std::vector<int64_t>& sequence = sequences[row];
    int64_t* id = batch.ids.data_ptr<int64_t>() + row * longest;
    int64_t* label = batch.labels.data_ptr<int64_t>() + row * longest;
    std::copy(sequence.begin(), sequence.end(), id);
    std::copy(sequence.begin() + prompt, sequence.end(), label + prompt);
  }
  return batch;
}

}  // namespace

Rollouts::Rollouts(const PolicyOptions& options, const ModelPair& pair, const UnifiedBatches& batches)
    : options_(options), pair_(pair), batches_(batches) {
  check_options(options);
  if (options.clip_weight != 0 && options.clip.empty()) {
    throw UsageError(describe("policy_clip_weight", "a CLIP repository, policy_clip", "none"));
  }
  options_.max_length = std::min(options.max_length, pair.models().captioner.config.text.max_position_embeddings);
  if (options.clip_weight != 0) {
    clip_ = std::make_unique<score::EmbeddingCache>(
        std::make_shared<score::ClipEmbedder>(checkpoint::Repository(options.clip), pair.device(), at::kFloat));
  }
}

PolicyBatch Rollouts::draw(const ImageCycleBatch& batch, std::vector<BatchRow>& rows, Metrics& metrics) {
  const auto images = static_cast<int64_t>(rows.size());
  const Sampled sampled = sample(batch.images, rows);
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
Rollouts::Sampled Rollouts::sample(const at::Tensor& images, std::vector<BatchRow>& rows) const {
  const std::vector<int64_t> prompt = prompt_of(pair_);
  const caption::DecodingOptions decoding =
      caption::resolve({.num_captions = options_.samples, .max_length = options_.max_length, .do_sample = true}, {});
  std::vector<Random> streams;
  for (BatchRow& row : rows) {
    const uint64_t seed = row.random.next64();
    for (int64_t i = 0; i < options_.samples; ++i) {
      streams.emplace_back(seed, Purpose::kRollout, "", static_cast<uint64_t>(i));
    }
  }
  Sampled sampled;
  std::vector<std::vector<int64_t>> sequences;
  for (auto& candidates : caption::decode(pair_.models().captioner, images, prompt, decoding, streams)) {
    for (caption::Decoded& decoded : candidates) {
      const std::vector<int64_t> own(decoded.token_ids.begin() + std::ssize(prompt), decoded.token_ids.end());
      sampled.texts.push_back(pair_.captioner_tokenizer().decode(own));
      sequences.push_back(std::move(decoded.token_ids));
    }
  }
  const CaptionBatch batch = as_batch(sequences, std::ssize(prompt), pair_.models().captioner.config.text.pad_token_id);
  sampled.captions = {batch.ids.to(pair_.device()), batch.labels.to(pair_.device())};
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
