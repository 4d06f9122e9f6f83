#include "readback/caption/blip_captioner.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <fmt/ranges.h>

#include <numeric>

#include "readback/base/device.h"
#include "readback/base/error.h"
#include "readback/base/halving.h"
#include "readback/base/machine.h"
#include "readback/models/part.h"

namespace readback::caption {

namespace {

// A decoder that has read the images and the prompt.
class BlipSteps final : public StepModel {
 public:
  BlipSteps(const models::BlipTextDecoder& decoder, models::BlipState state)
      : decoder_(decoder), state_(std::move(state)) {}

  at::Tensor read(const at::Tensor& ids) {  // [S, T] → [S, V]
    const at::Tensor hidden =
        decoder_.hidden_states(ids.to(state_.front().image_key.device()), state_, /*cache=*/true);  // [S, T, C]
    return decoder_.logits(hidden.select(1, -1)).to(at::kFloat);
  }

  void select(const std::vector<int64_t>& groups, const std::vector<int64_t>& sources) override {
    models::select(state_, indices(groups, state_.front().image_key.size(0)),
                   indices(sources, state_.front().key.size(0)));
  }

  at::Tensor step(const std::vector<int64_t>& tokens) override {
    return read(sent(tokens, state_.front().image_key.device()).unsqueeze(1));
  }

 private:
  // Undefined when it would change nothing.
  at::Tensor indices(const std::vector<int64_t>& wanted, int64_t count) const {
    std::vector<int64_t> all(static_cast<size_t>(count));
    std::iota(all.begin(), all.end(), 0);
    return wanted == all ? at::Tensor() : sent(wanted, state_.front().key.device());
  }

  const models::BlipTextDecoder& decoder_;
  models::BlipState state_;
};

// Its configuration. Errors: CheckpointError for another architecture.
checkpoint::ConfigReader config_of(const checkpoint::Repository& repository) {
  checkpoint::ConfigReader config = models::part_config(repository);
  const std::vector<std::string> wanted = {"BlipForConditionalGeneration"};
  const auto type = config.get<std::string>("model_type", "none");
  const auto architectures = config.get("architectures", wanted);
  if (type != "blip" || architectures != wanted) {
    throw CheckpointError(describe(config.where(), "BlipForConditionalGeneration of model_type blip",
                                   fmt::format("{} of model_type {}", fmt::join(architectures, ", "), type),
                                   "A captioner is a repository like Salesforce/blip-image-captioning-base."));
  }
  return config;
}

BlipCaptioner::Parts load(const checkpoint::Repository& repository, const nn::Weights& weights, std::string identity) {
  BlipCaptioner::Parts parts;
  parts.model = std::make_shared<models::Blip>(models::BlipConfig::read(config_of(repository)), weights);
  weights.finish();
  parts.tokenizer = text::load_bert_tokenizer(repository.vocabulary());
  parts.preprocessing = image::read_preprocess_options(repository);
  parts.description = fmt::format("BLIP {}, {}", repository.title(),
                                  dtype_name(parts.model->vision_model.class_embedding.scalar_type()));
  parts.identity = std::move(identity);
  return parts;
}

nn::Weights weights_of(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype) {
  config_of(repository);
  return models::part_weights(repository, "", device, dtype).for_inference();
}

// Of the picture's patches, which every layer looks at.
int64_t cached_values(const models::Blip& model) {
  const models::BlipTextConfig& text = model.config.text;
  return 2 * text.num_hidden_layers * model.vision_model.position_embedding.size(1) * text.hidden_size;
}

}  // namespace

BlipCaptioner::BlipCaptioner(Parts parts)
    : TokenCaptioner(
          {.description = parts.description,
           .identity = parts.identity,
           .batch_size = parts.batch_size > 0 ? parts.batch_size
                                              : requests_at_once(cached_values(*parts.model),
                                                                 parts.model->vision_model.position_embedding),
           .max_positions = parts.model->config.text.max_position_embeddings,
           .end_tokens = {parts.model->config.text.sep_token_id},
           .begin_token = parts.model->config.text.bos_token_id,
           .vocabulary_size = parts.model->config.text.vocab_size,
           .image_size = parts.model->config.vision.image_size,
           .pieces_at_once = pieces_at_once(parts.model->vision_model.position_embedding.size(1)),
           .label_smoothing = parts.model->config.text.label_smoothing},
          parts.tokenizer, parts.preprocessing),
      model_(std::move(parts.model)) {}

BlipCaptioner::BlipCaptioner(const checkpoint::Repository& repository, const nn::Weights& weights, std::string identity)
    : BlipCaptioner(load(repository, weights, std::move(identity))) {}

BlipCaptioner::BlipCaptioner(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype)
    : BlipCaptioner(repository, weights_of(repository, device, dtype), repository.digest()) {}

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

at::Tensor BlipCaptioner::patches(const at::Tensor& pixels) const {
  return model_->vision_model.forward(pixels.to(model_->vision_model.class_embedding.device()));
}

models::BlipState BlipCaptioner::prepare(const Pictures& pictures) const {
  models::BlipState state = model_->text_decoder.prepare(at::cat(pictures.sets));
  if (!pictures.side_by_side()) {
    models::select(state, at::tensor(pictures.rows).to(state.front().image_key.device()), {});
  }
  return state;
}

at::Tensor BlipCaptioner::text_logits(const Pictures& pictures, const Texts& texts) const {
  models::BlipState state = prepare(pictures);
  const at::Tensor ids = texts.ids.to(state.front().image_key.device());
  return model_->text_decoder.logits(asked(model_->text_decoder.hidden_states(ids, state, /*cache=*/false), texts));
}

TokenCaptioner::Started BlipCaptioner::start(const Pictures& pictures, const Texts& prompts,
                                             int64_t /*max_length*/) const {
  auto steps = std::make_unique<BlipSteps>(model_->text_decoder, prepare(pictures));
  const at::Tensor logits = steps->read(prompts.ids);
  return {std::move(steps), logits};
}

// The prompt's text is taken off, not its tokens: a repository may say its tokens otherwise than it reads them.
std::string BlipCaptioner::text(const std::vector<int64_t>& ids, int64_t prompt_tokens) const {
  std::string text = tokenizer().decode(ids);
  const std::string prompt = tokenizer().decode({ids.begin(), ids.begin() + prompt_tokens});
  if (text.starts_with(prompt)) text.erase(0, text.find_first_not_of(' ', prompt.size()));
  return text;
}

}  // namespace readback::caption
