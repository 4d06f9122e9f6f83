// A captioner and a generator as they are tuned together: loaded, what is trained of them, saved.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "readback/base/machine.h"
#include "readback/caption/token_captioners.h"
#include "readback/checkpoint/repository.h"
#include "readback/generate/stable_diffusion_index.h"
#include "readback/nn/weights.h"
#include "readback/text/tokenizer.h"
#include "readback/train/tuned_model.h"
#include "readback/train/unified_objective.h"
#include "readback/train/unified_options.h"

namespace readback::train {

// Errors: CheckpointError for a generator that cannot be tuned, UsageError for one that reads no soft texts where these
// are needed; before anything is loaded.
const generate::StableDiffusionKind& tunable_generator(const checkpoint::Repository& repository);
void expect_soft_texts(const ModelPairOptions& options, const Machine& machine, const char* option);

class ModelPair {
 public:
  // Errors: UsageError, CheckpointError.
  ModelPair(const ModelPairOptions& options, const Machine& machine);
  ModelPair(const ModelPair&) = delete;
  ModelPair& operator=(const ModelPair&) = delete;

  const ModelPairOptions& options() const { return options_; }
  c10::Device device() const { return machine_.device; }
  const Tunable& tunable_captioner() const { return captioner_part_.model; }
  const text::Tokenizer& generator_tokenizer() const { return *generator_tokenizer_; }
  const text::Tokenizer& second_tokenizer() const { return *second_tokenizer_; }  // Stable Diffusion XL's
  // The models, and what else the objective must know of them.
  const UnifiedModels& models() const { return *models_; }

  // The frozen encoders of texts and pictures leave memory until they are used again, where they lie in mapped files.
  void release_encoders() const;

  // The models as they are now, to hold on to while they are trained.
  std::unique_ptr<StartingModels> starting_models() const;

  // What is trained, by "captioner.KEY" and "unet.KEY".
  std::map<std::string, at::Tensor> parameters() const;
  // The captioner with `weights` (keys of parameters()) in place of the trained ones, for inference.
  std::unique_ptr<caption::Captioner> captioner_with(const checkpoint::TensorMap& weights) const;
  // What is trained with `weights`, into captioner/ and generator/, as save_tuned() writes them.
  void save(const std::filesystem::path& folder, const checkpoint::TensorMap& weights) const;

 private:
  UnifiedModels make_models() const;

  ModelPairOptions options_;
  Machine machine_;
  checkpoint::Repository captioner_repository_, generator_repository_;
  TunedPart captioner_part_, generator_part_;
  const caption::TokenBackend& backend_;
  const generate::StableDiffusionKind& kind_;
  std::shared_ptr<text::Tokenizer> generator_tokenizer_;
  nn::Weights captioner_weights_, text_weights_, unet_weights_, vae_weights_;
  std::unique_ptr<const caption::TokenCaptioner> captioner_;
  models::ClipTextModel text_encoder_;
  std::unique_ptr<text::Tokenizer> second_tokenizer_;                               // of Stable Diffusion XL, as …
  std::unique_ptr<const models::ClipTextModelWithProjection> second_text_encoder_;  // … this
  models::Unet unet_;
  models::Vae vae_;
  std::unique_ptr<const UnifiedModels> models_;
};

}  // namespace readback::train
