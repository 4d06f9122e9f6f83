#include "readback/train/model_pair.h"

#include <fmt/format.h>

#include "readback/base/error.h"
#include "readback/checkpoint/mapped_file.h"
#include "readback/checkpoint/open_backend.h"
#include "readback/generate/stable_diffusion.h"
#include "readback/models/part.h"

namespace readback::train {

namespace fs = std::filesystem;

namespace {

constexpr const char* kVaeEncoder = "encoder.";

// Trained tensors stay: they are copies, not the file's.
void release(const nn::Weights& weights, const std::string& prefix) {
  for (const auto& [key, tensor] : weights.parameters()) {
    if (key.starts_with(prefix)) checkpoint::release(tensor);
  }
}

// What of it is to be tuned, before anything is loaded. Errors: UsageError.
TunedPart part_of(const std::string& class_name, Selection selection, const LoraOptions& lora) {
  const Tunable& model = tunable(class_name);
  check_selection(model, selection);
  return {model, selection, lora};
}

}  // namespace

const generate::StableDiffusionKind& tunable_generator(const checkpoint::Repository& repository) {
  const std::string found = checkpoint::architecture(repository).class_name;
  std::string known;
  for (const generate::StableDiffusionKind& kind : generate::kStableDiffusionKinds) {
    known += (known.empty() ? "" : ", ") + std::string(kind.pipeline);
  }
  if (found == "UnCLIPPipeline") {
    throw CheckpointError(describe(repository.name(), "a generator that can be tuned: " + known,
                                   found + ", Karlo's, of a prior and decoders over image embeddings",
                                   "Tune the captioner alone (losses lm), or train_generator with one of these"));
  }
  return generate::kind_of(generate::stable_diffusion_family_index(repository));
}

void expect_soft_texts(const ModelPairOptions& options, const Machine& machine, const char* option) {
  const generate::StableDiffusionKind& kind =
      tunable_generator(checkpoint::Repository(options.generator, machine.variant));
  if (!kind.is_xl && !kind.is_told_guidance) return;
  throw UsageError(describe(option, "a StableDiffusionPipeline, whose one text encoder reads soft texts",
                            std::string("a ") + kind.pipeline,
                            "It learns by losses diffusion and return; or take a Stable Diffusion 1.x or 2.x"));
}

ModelPair::ModelPair(const ModelPairOptions& options, const Machine& machine)
    : options_((check_options(options), options)),
      machine_(machine),
      captioner_repository_(options.captioner, machine.variant),
      generator_repository_(options.generator, machine.variant),
      captioner_part_(
          part_of(checkpoint::architecture(captioner_repository_).class_name, options.train_captioner, options.lora)),
      generator_part_(part_of("UNet2DConditionModel", options.train_generator, options.lora)),
      backend_(caption::token_backend(captioner_repository_)),
      kind_(tunable_generator(generator_repository_)),
      generator_tokenizer_(text::load_clip_tokenizer(generator_repository_.vocabulary("tokenizer"))),
      captioner_weights_(weights_to_train(captioner_repository_, captioner_part_, machine)),
      text_weights_(models::part_weights(generator_repository_, "text_encoder", machine.device, machine.dtype)),
      unet_weights_(weights_to_train(generator_repository_, generator_part_, machine)),
      vae_weights_(
          models::part_weights(generator_repository_, "vae", machine.device, machine.dtype).keeping_order(kVaeEncoder)),
      captioner_(backend_.make(captioner_repository_, captioner_weights_, "")),
      text_encoder_(models::ClipTextConfig::read(models::part_config(generator_repository_, "text_encoder")),
                    text_weights_),
      unet_(models::UnetConfig::read(models::part_config(generator_repository_, "unet")), unet_weights_),
      vae_(models::VaeConfig::read(models::part_config(generator_repository_, "vae")), vae_weights_) {
  if (kind_.is_xl) {
    second_tokenizer_ = text::load_clip_tokenizer(generator_repository_.vocabulary("tokenizer_2"));
    second_text_encoder_ = models::load_part<models::ClipTextModelWithProjection>(
                               generator_repository_, "text_encoder_2", machine.device, machine.dtype)
                               .model;
  }
  for (const nn::Weights* weights : {&text_weights_, &unet_weights_, &vae_weights_}) weights->finish();
  models_ = std::make_unique<const UnifiedModels>(make_models());
}

UnifiedModels ModelPair::make_models() const {
  const text::Tokenizer& generator = *generator_tokenizer_;
  const caption::TokenCaptioner::About& captions = captioner_->about();
  const Vocabularies vocabularies{captioner_->tokenizer(), generator, captions.vocabulary_size, captions.begin_token,
                                  captions.end_tokens.front()};
  VocabularyBridge bridge =
      options_.vocabulary_map.empty() ? build_bridge(vocabularies) : load_bridge(options_.vocabulary_map, vocabularies);
  expect_coverage(bridge, options_.minimum_coverage);
  const nlohmann::json scheduler = generate::read_scheduler_config(generator_repository_);
  UnifiedModels models{
      .captioner = *captioner_,
      .text_encoder = text_encoder_,
      .unet = unet_,
      .vae = vae_,
      .schedule = generate::NoiseSchedule::from_config(scheduler),
      .clip_sample = scheduler.value("clip_sample", true),  // as DDPMScheduler's default
      .scheduler = generate::pipeline_scheduler_config(scheduler, "ddim"),
      .label_smoothing = options_.label_smoothing.value_or(captions.label_smoothing),
      .bridge = std::move(bridge),
      .framing = text::clip_framing(generator, text_encoder_.config.max_position_embeddings, options_.generator),
      .guidance = generate::step_defaults(kind_, options_.generator, scheduler).guidance_scale,
      .release = [this](Part part) {
        switch (part) {
          case Part::kCaptioner:
            return release(captioner_weights_, "");
          case Part::kTextEncoder:
            return release(text_weights_, "");
          case Part::kUnet:
            return release(unet_weights_, "");
        }
      }};
  if (kind_.is_xl) {
    models.second_text_encoder = second_text_encoder_.get();
    models.second_framing = text::clip_framing(
        *second_tokenizer_, second_text_encoder_->text_model.config.max_position_embeddings, options_.generator);
    models.zeros_for_empty_text =
        generator_repository_.json("model_index.json").value("force_zeros_for_empty_prompt", true);
  }
  return models;
}

void ModelPair::release_encoders() const {
  release(captioner_weights_, std::string(captioner_part_.model.vision));
  release(text_weights_, "");
  release(vae_weights_, kVaeEncoder);
}

std::unique_ptr<StartingModels> ModelPair::starting_models() const {
  return std::make_unique<StartingModels>(
      [&](const nn::Weights& weights) { return backend_.make(captioner_repository_, weights, ""); }, captioner_weights_,
      unet_.config, unet_weights_, parameters());
}

std::map<std::string, at::Tensor> ModelPair::parameters() const {
  std::map<std::string, at::Tensor> all;
  const auto add = [&](const TunedPart& part, const nn::Weights& weights) {
    for (const auto& [key, tensor] : select_parameters(weights.parameters(), part.model, part.selection)) {
      all[part.prefix() + key] = tensor;
    }
  };
  add(captioner_part_, captioner_weights_);
  add(generator_part_, unet_weights_);
  return all;
}

std::unique_ptr<caption::Captioner> ModelPair::captioner_with(const checkpoint::TensorMap& weights) const {
  return backend_.make(captioner_repository_,
                       nn::Weights(tuned_tensors(captioner_repository_, captioner_part_, weights), machine_.device,
                                   machine_.dtype, options_.captioner)
                           .for_inference(),
                       "");
}

void ModelPair::save(const fs::path& folder, const checkpoint::TensorMap& weights) const {
  if (captioner_part_.selection != Selection::kNone) {
    save_tuned(captioner_repository_, captioner_part_, weights, folder / "captioner");
  }
  if (generator_part_.selection != Selection::kNone) {
    save_tuned(generator_repository_, generator_part_, weights, folder / "generator");
  }
}

}  // namespace readback::train
