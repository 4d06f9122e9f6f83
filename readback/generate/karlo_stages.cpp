#include "readback/generate/karlo_stages.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "readback/base/error.h"
#include "readback/generate/sampler.h"

namespace readback::generate {

namespace {

// Row i of the share [first, last) has the noise of request i.
at::Tensor draw_noise(std::vector<Random>& streams, at::IntArrayRef shape, c10::Device device) {
  std::vector<at::Tensor> rows;
  for (Random& stream : streams) rows.push_back(normal(stream, shape));
  return at::stack(rows).to(device);
}

at::Tensor twice(const at::Tensor& x, bool twice) { return twice ? at::cat({x, x}) : x; }

at::Tensor index_of(const std::vector<int64_t>& rows, c10::Device device) { return at::tensor(rows).to(device); }

}  // namespace

UnclipSchedule read_unclip_schedule(const checkpoint::Repository& repository, const std::string& part) {
  const std::string file = part + "/scheduler_config.json";
  return UnclipSchedule::read({repository.json(file), (repository.path() / file).string()});
}

KarloTextEncoder::KarloTextEncoder(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype)
    : tokenizer_(text::load_clip_tokenizer(repository.vocabulary("tokenizer"))),
      model_(models::load_part<models::ClipTextModelWithProjection>(repository, "text_encoder", device, dtype)),
      device_(device) {
  const std::string where = repository.name() + "/tokenizer";
  const models::ClipTextConfig& config = model_.model->config;
  framing_ = text::clip_framing(*tokenizer_, config.max_position_embeddings, where);
  if (tokenizer_->vocabulary_size() > config.vocab_size) {
    throw CheckpointError(describe(where, fmt::format("{} tokens at most, as the text encoder has", config.vocab_size),
                                   std::to_string(tokenizer_->vocabulary_size())));
  }
}

KarloTexts KarloTextEncoder::encode(std::span<const Request> requests) const {
  KarloTexts texts;
  std::unordered_map<std::string, int64_t> row_of;
  std::vector<text::Padded> distinct;
  const auto add = [&](const std::string& prompt) {
    const auto [found, is_new] = row_of.try_emplace(prompt, std::ssize(distinct));
    if (is_new) distinct.push_back(framing_(tokenizer_->encode(prompt)));
    texts.rows.push_back(found->second);
    return distinct[static_cast<size_t>(found->second)].truncated;
  };
  add("");
  for (const Request& request : requests) texts.truncated.push_back(add(request.prompt));
  const at::Tensor ids = at::empty({std::ssize(distinct), framing_.length}, at::kLong);
  const at::Tensor tokens = at::zeros_like(ids, at::kBool);
  for (int64_t i = 0; i < ids.size(0); ++i) {
    const text::Padded& padded = distinct[static_cast<size_t>(i)];
    std::copy(padded.ids.begin(), padded.ids.end(), ids[i].data_ptr<int64_t>());
    tokens[i].narrow(0, 0, padded.tokens).fill_(true);
  }
  const models::ClipOutput output = model_.model->text_model.forward(ids.to(device_));
  texts.embeds = model_.model->text_projection(output.pooler_output);
  texts.states = output.last_hidden_state;
  texts.tokens = tokens.to(device_);
  return texts;
}

KarloPrior::KarloPrior(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype)
    : prior_(models::load_part<models::Prior>(repository, "prior", device, dtype)),
      schedule_(read_unclip_schedule(repository, "prior_scheduler")),
      place_{device, dtype, prior_.bytes} {}

at::Tensor KarloPrior::image_embeds(const KarloCall& call, const KarloTexts& texts) const {
  const models::Prior& prior = *prior_.model;
  const bool guided = call.is_guided();
  const models::PriorContext contexts = prior.prepare(texts.embeds, texts.states, texts.tokens);
  const at::Tensor embeds =
      at::empty({call.size(), prior.config.embedding_dim}, at::TensorOptions(at::kFloat).device(place_.device));
  in_shares(place_, call.size(), prior.config.num_embeddings, [&](int64_t first, int64_t last) {
    std::vector<int64_t> rows(guided ? static_cast<size_t>(last - first) : 0, texts.rows[0]);
    rows.insert(rows.end(), texts.rows.begin() + 1 + first, texts.rows.begin() + 1 + last);
    const models::PriorContext context = contexts.select(rows);
    std::vector<Random> streams = call.streams(first, last, Purpose::kPriorNoise);
    UnclipScheduler scheduler(schedule_, *call.options.prior_num_inference_steps, "prior_num_inference_steps");
    const auto predict = [&](const at::Tensor& sample, const at::Tensor& timesteps, int64_t) {
      call.context.check();
      const at::Tensor output =
          prior.forward(twice(sample.to(place_.dtype), guided), twice(timesteps, guided), context).to(at::kFloat);
      return guided ? guide(output, *call.options.prior_guidance_scale) : output;
    };
    at::Tensor sample = draw_noise(streams, {prior.config.embedding_dim}, place_.device);
    sample = take_steps(scheduler, sample, std::move(streams), predict);
    embeds.narrow(0, first, last - first).copy_(prior.denormalise(sample));
  });
  return embeds;
}

KarloImageEncoder::KarloImageEncoder(const checkpoint::Repository& repository, c10::Device device,
                                     c10::ScalarType dtype)
    : model_(models::load_part<models::ClipVisionModelWithProjection>(repository, "image_encoder", device, dtype)),
      preprocessing_(image::read_preprocess_options(repository, "feature_extractor")),
      place_{device, dtype, model_.bytes} {}

at::Tensor KarloImageEncoder::image_embeds(const KarloCall& call) const {
  const models::ClipVisionConfig& config = model_.model->config;
  const int64_t side = config.image_size / config.patch_size;
  const at::Tensor embeds =
      at::empty({call.size(), config.projection_dim}, at::TensorOptions(at::kFloat).device(place_.device));
  in_shares(place_, call.size(), side * side, [&](int64_t first, int64_t last) {
    call.context.check();
    std::vector<at::Tensor> pixels;
    for (int64_t i = first; i < last; ++i) {
      pixels.push_back(image::preprocess(*call.requests[static_cast<size_t>(i)].picture, preprocessing_));
    }
    const at::Tensor batch = at::stack(pixels).to(place_.device, place_.dtype);
    const at::Tensor pooled = model_.model->vision_model.forward(batch).pooler_output;
    embeds.narrow(0, first, last - first).copy_(model_.model->visual_projection(pooled));
  });
  return embeds;
}

KarloDecoder::KarloDecoder(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype)
    : text_projection_(models::load_part<models::TextProjection>(repository, "text_proj", device, dtype)),
      unet_(models::load_part<models::KarloUnet, models::KarloDecoderConfig>(repository, "decoder", device, dtype)),
      schedule_(read_unclip_schedule(repository, "decoder_scheduler")),
      place_{device, dtype, unet_.bytes} {}

// Of requests first … last - 1; with guidance as many rows of no image and no text before them.
models::KarloContext KarloDecoder::context_of(const KarloTexts& texts, const at::Tensor& image_embeds, int64_t first,
                                              int64_t last, bool guided) const {
  const models::TextProjection& projection = *text_projection_.model;
  std::vector<int64_t> text_rows = {texts.rows[0]}, rows(guided ? static_cast<size_t>(last - first) : 0, 0);
  for (int64_t i = first; i < last; ++i) {
    text_rows.push_back(texts.rows[static_cast<size_t>(i) + 1]);
    rows.push_back(i - first + 1);
  }
  const at::Tensor index = index_of(text_rows, place_.device);
  const at::Tensor images = at::cat({projection.learned_classifier_free_guidance_embeddings.unsqueeze(0),
                                     image_embeds.narrow(0, first, last - first).to(place_.dtype)});
  const models::DecoderConditions conditions =
      projection.forward(images, texts.embeds.index_select(0, index), texts.states.index_select(0, index));
  const at::Tensor tokens =
      at::constant_pad_nd(texts.tokens.index_select(0, index), {projection.config.clip_extra_context_tokens, 0}, 1);
  return unet_.model->prepare(conditions.states, tokens, conditions.time).select(rows);
}

at::Tensor KarloDecoder::draw(const KarloCall& call, const KarloTexts& texts, const at::Tensor& image_embeds) const {
  const models::KarloUnet& unet = *unet_.model;
  const bool guided = call.is_guided();
  const int64_t side = unet.config.sample_size, channels = unet.config.in_channels;
  const at::Tensor pictures =
      at::empty({call.size(), channels, side, side}, at::TensorOptions(at::kFloat).device(place_.device));
  in_shares(place_, call.size(), side * side, [&](int64_t first, int64_t last) {
    const models::KarloContext context = context_of(texts, image_embeds, first, last, guided);
    std::vector<Random> start = call.streams(first, last, Purpose::kInitialNoise);
    UnclipScheduler scheduler(schedule_, *call.options.num_inference_steps);
    const auto predict = [&](const at::Tensor& sample, const at::Tensor& timesteps, int64_t) {
      const at::Tensor output =
          unet.forward(twice(sample.to(place_.dtype), guided), twice(timesteps, guided), context).to(at::kFloat);
      if (!guided) return output;
      const at::Tensor variance = output.narrow(0, last - first, last - first).narrow(1, channels, channels);
      return at::cat({guide(output.narrow(1, 0, channels), *call.options.guidance_scale), variance}, 1);
    };
    const auto told = [&](int64_t index, const auto& estimate) { call.tell(first, last, index + 1, estimate); };
    const at::Tensor noise = draw_noise(start, {channels, side, side}, place_.device);
    const at::Tensor drawn =
        take_steps(scheduler, noise, call.streams(first, last, Purpose::kSchedulerNoise), predict, told);
    pictures.narrow(0, first, last - first).copy_(drawn.clamp(-1, 1));
  });
  return pictures;
}

KarloSuperResolution::KarloSuperResolution(const checkpoint::Repository& repository, c10::Device device,
                                           c10::ScalarType dtype)
    : first_(models::load_part<models::KarloUnet, models::KarloSuperResolutionConfig>(repository, "super_res_first",
                                                                                      device, dtype)),
      last_(models::load_part<models::KarloUnet, models::KarloSuperResolutionConfig>(repository, "super_res_last",
                                                                                     device, dtype)),
      schedule_(read_unclip_schedule(repository, "super_res_scheduler")),
      place_{device, dtype, first_.bytes} {}

at::Tensor KarloSuperResolution::enlarge(const KarloCall& call, const at::Tensor& pictures) const {
  const int64_t large = side(), small = pictures.size(-1), channels = pictures.size(1);
  const at::Tensor enlarged = at::empty({call.size(), channels, large, large}, pictures.options());
  in_shares(place_, call.size(), large * large, [&](int64_t first, int64_t last) {
    const at::Tensor guess =
        at::_upsample_bicubic2d_aa(pictures.narrow(0, first, last - first), {large, large}, /*align_corners=*/false);
    std::vector<Random> streams = call.streams(first, last, Purpose::kUpscalingNoise);
    UnclipScheduler scheduler(schedule_, *call.options.super_res_num_inference_steps, "super_res_num_inference_steps");
    const auto predict = [&](const at::Tensor& sample, const at::Tensor& timesteps, int64_t index) {
      const models::KarloUnet& unet = index + 1 == scheduler.size() ? *last_.model : *first_.model;
      return unet.forward(at::cat({sample, guess}, 1).to(place_.dtype), timesteps).to(at::kFloat);
    };
    const auto told = [&](int64_t index, const auto& estimate) {
      call.tell(first, last, *call.options.num_inference_steps + index + 1, [&] {
        return at::adaptive_avg_pool2d(estimate(), {small, small});
      });
    };
    const at::Tensor noise = draw_noise(streams, {channels, large, large}, place_.device);
    enlarged.narrow(0, first, last - first).copy_(take_steps(scheduler, noise, std::move(streams), predict, told));
  });
  return enlarged;
}

}  // namespace readback::generate
