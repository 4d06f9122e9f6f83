#include "readback/caption/blip_captioner.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "readback/base/device.h"
#include "readback/base/error.h"
#include "readback/base/halving.h"
#include "readback/base/machine.h"

namespace readback::caption {

namespace {

// A decoder that has read the images and the prompt.
class BlipSteps final : public StepModel {
 public:
  BlipSteps(const models::BlipTextDecoder& decoder, models::BlipState state)
      : decoder_(decoder), state_(std::move(state)) {}

  // Logits after each image's prompt, float32 [B, V]; the prompts are equally long.
  at::Tensor read_prompts(const std::vector<std::vector<int64_t>>& prompts) {
    std::vector<at::Tensor> ids;
    for (const std::vector<int64_t>& prompt : prompts) ids.push_back(at::tensor(prompt));
    return run(at::stack(ids));
  }

  void select(const std::vector<int64_t>& groups, const std::vector<int64_t>& sources) override {
    models::select(state_, indices(groups, state_.front().image_key.size(0)),
                   indices(sources, state_.front().key.size(0)));
  }

  at::Tensor step(const std::vector<int64_t>& tokens) override { return run(at::tensor(tokens).unsqueeze(1)); }

 private:
  at::Tensor run(const at::Tensor& ids) {
    const at::Tensor hidden =
        decoder_.hidden_states(ids.to(state_.front().image_key.device()), state_, /*cache=*/true);  // [S, T, C]
    return decoder_.logits(hidden.select(1, -1)).to(at::kFloat);
  }

  // Undefined when it would change nothing.
  at::Tensor indices(const std::vector<int64_t>& wanted, int64_t count) const {
    std::vector<int64_t> all(static_cast<size_t>(count));
    std::iota(all.begin(), all.end(), 0);
    return wanted == all ? at::Tensor() : at::tensor(wanted).to(state_.front().key.device());
  }

  const models::BlipTextDecoder& decoder_;
  models::BlipState state_;
};

StartedSteps start(const models::Blip& model, const at::Tensor& images,
                   const std::vector<std::vector<int64_t>>& prompts) {
  auto steps = std::make_unique<BlipSteps>(model.text_decoder, model.text_decoder.prepare(images));
  const at::Tensor logits = steps->read_prompts(prompts);
  return {std::move(steps), logits};
}

BlipCaptioner::Parts load(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype) {
  const std::string where = (repository.path() / "config.json").string();
  checkpoint::ConfigReader config(repository.json(), where);
  const std::vector<std::string> wanted = {"BlipForConditionalGeneration"};
  const auto type = config.get<std::string>("model_type", "none");
  const auto architectures = config.get("architectures", wanted);
  if (type != "blip" || architectures != wanted) {
    throw CheckpointError(describe(where, "BlipForConditionalGeneration of model_type blip",
                                   fmt::format("{} of model_type {}", fmt::join(architectures, ", "), type),
                                   "A captioner is a repository like Salesforce/blip-image-captioning-base."));
  }
  const nn::Weights weights = nn::Weights(repository.tensors(), device, dtype, repository.name()).for_inference();
  BlipCaptioner::Parts parts;
  parts.model = std::make_shared<models::Blip>(models::BlipConfig::read(std::move(config)), weights);
  weights.finish();
  parts.tokenizer = text::load_bert_tokenizer(repository.vocabulary());
  parts.preprocessing = image::read_preprocess_options(repository);
  parts.description = fmt::format("BLIP {}, {}", repository.title(), dtype_name(dtype));
  parts.identity = repository.digest();
  return parts;
}

// Images whose keys and values of all layers fit into 256 MiB: enough that the decoder's weights, which every step
// reads from memory, are shared by many.
int64_t default_batch_size(const models::Blip& model) {
  const models::BlipTextConfig& text = model.config.text;
  const int64_t values = 2 * text.num_hidden_layers * model.vision_model.position_embedding.size(1) * text.hidden_size;
  const int64_t bytes = values * static_cast<int64_t>(model.vision_model.position_embedding.element_size());
  return std::clamp<int64_t>((int64_t{256} << 20) / bytes, 1, 64);
}

}  // namespace

std::vector<std::vector<Decoded>> decode(const models::Blip& model, const at::Tensor& images,
                                         const std::vector<int64_t>& prompt, const DecodingOptions& options,
                                         std::span<const Random> streams) {
  const c10::InferenceMode no_gradients;
  std::vector<std::vector<int64_t>> prompts(static_cast<size_t>(images.size(0)), prompt);
  const StartedSteps started = start(model, images, prompts);
  return decode(*started.steps, {std::move(prompts), started.logits, {model.config.text.sep_token_id}}, options,
                streams);
}

BlipCaptioner::BlipCaptioner(Parts parts)
    : TokenCaptioner({.description = parts.description,
                      .identity = parts.identity,
                      .batch_size = parts.batch_size > 0 ? parts.batch_size : default_batch_size(*parts.model),
                      .max_positions = parts.model->config.text.max_position_embeddings,
                      .end_tokens = {parts.model->config.text.sep_token_id}},
                     parts.tokenizer),
      model_(std::move(parts.model)),
      preprocessing_(parts.preprocessing) {}

BlipCaptioner::BlipCaptioner(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype)
    : BlipCaptioner(load(repository, device, dtype)) {}

DecodingOptions BlipCaptioner::defaults() const {
  return {.prompt = kBlipPrompt, .num_beams = 3, .max_length = 20, .min_length = 5, .top_p = 0.9};
}

// [CLS] gives way to the model's begin token, and the final [SEP] to what is to come.
Reading BlipCaptioner::read(const Request& request, const std::string& prompt) const {
  refuse_examples(request, description());
  Reading reading{{&request.image}, {model_->config.text.bos_token_id}};
  for (const int64_t id : tokenizer().encode(prompt)) reading.ids.push_back(id);
  return reading;
}

at::Tensor BlipCaptioner::read_images(const std::vector<std::vector<const image::Image*>>& images) const {
  const models::BlipVisionModel& vision = model_->vision_model;
  // About a thousand patches at a time fill the machine, and more would only take memory.
  const size_t at_once = static_cast<size_t>(std::max<int64_t>(1, 1024 / vision.position_embedding.size(1)));
  std::vector<at::Tensor> embeds;
  for (size_t begin = 0; begin < images.size(); begin += at_once) {
    std::vector<at::Tensor> pixels;
    for (const auto& one : std::span(images).subspan(begin, std::min(at_once, images.size() - begin))) {
      pixels.push_back(image::preprocess(*one.front(), preprocessing_));
    }
    embeds.push_back(vision.forward(at::stack(pixels).to(vision.class_embedding.device())));  // [B, P, C]
  }
  return at::cat(embeds);
}

std::vector<std::vector<Decoded>> BlipCaptioner::decode(std::span<const Reading> readings,
                                                        const DecodingOptions& options, std::span<const Random> streams,
                                                        const TokenCallback& on_token) const {
  return decode_alike(readings, about().end_tokens, options, streams, on_token,
                      [&](std::span<const Reading> alike, int64_t /*max_length*/) {
                        std::vector<std::vector<const image::Image*>> images;
                        std::vector<std::vector<int64_t>> prompts;
                        for (const Reading& reading : alike) {
                          images.push_back(reading.images);
                          prompts.push_back(reading.ids);
                        }
                        return start(*model_, read_images(images), prompts);
                      });
}

at::Tensor BlipCaptioner::logits(std::span<const Reading> readings, int64_t known) const {
  const DistinctImages images = distinct_images(readings);
  models::BlipState state = model_->text_decoder.prepare(read_images(images.sets));
  const c10::Device device = state.front().image_key.device();
  models::select(state, at::tensor(images.rows).to(device), {});
  std::vector<at::Tensor> ids;
  for (const Reading& reading : readings) ids.push_back(at::tensor(reading.ids));
  const at::Tensor hidden =
      model_->text_decoder.hidden_states(at::stack(ids).to(device), state, /*cache=*/false);  // [S, T, C]
  return model_->text_decoder.logits(hidden.slice(1, known - 1, -1)).to(at::kFloat);
}

// The prompt's text is taken off, not its tokens: a repository may say its tokens otherwise than it reads them.
std::string BlipCaptioner::text(const std::vector<int64_t>& ids, int64_t prompt_tokens) const {
  std::string text = tokenizer().decode(ids);
  const std::string prompt = tokenizer().decode({ids.begin(), ids.begin() + prompt_tokens});
  if (text.starts_with(prompt)) text.erase(0, text.find_first_not_of(' ', prompt.size()));
  return text;
}

}  // namespace readback::caption
