// Pictures by Karlo, unCLIP's (DALL-E 2's) architecture, as diffusers' UnCLIPPipeline gives them: a prior makes an
// image's embedding of the text's, a decoder a small picture of it, super-resolution a large one. As its
// UnCLIPImageVariationPipeline it draws pictures anew: an image encoder gives the embedding, and nobody needs a text.
#pragma once
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <optional>
#include <string>
#include <vector>

#include "readback/checkpoint/repository.h"
#include "readback/generate/generator.h"
#include "readback/generate/karlo_stages.h"

namespace readback::generate {

class Karlo final : public Generator {
 public:
  // A diffusers folder with model_index.json, tokenizer, text_encoder, text_proj, decoder, super_res_first,
  // super_res_last and a scheduler of each stage; a prior for texts, an image_encoder with its feature_extractor for
  // pictures, or both. generation_config.json, where there is one, says what defaults() has instead of the pipeline's.
  // Errors: CheckpointError, also when a part is of another class.
  Karlo(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype);

  // Whether a Karlo of this repository has Capabilities::variations.
  static bool varies(const checkpoint::Repository& repository);

  // Stage by stage, in each as many requests at once as suit the machine. What each stage starts from and what its
  // steps add comes from a stream of its own for each (seed, sample, candidate), so that a picture does not depend on
  // its batch. num_inference_steps and guidance_scale are the decoder's.
  std::vector<Result<Picture>> generate(std::span<const Request> requests, const GenerationOptions& options,
                                        const Context& context = {}) override;
  std::string description() const override { return description_; }
  std::string identity() const override { return identity_; }
  Capabilities capabilities() const override;
  // 25 steps of the prior, where there is one, and of the decoder, 7 of super-resolution, guidance 4 and 8; the size is
  // the repository's.
  GenerationOptions defaults() const override { return defaults_; }
  std::string defaults_rule() const override { return defaults_rule_; }

 private:
  void read_defaults(const checkpoint::Repository& repository);
  std::vector<Result<Picture>> draw(const KarloCall& call) const;
  std::string description_, identity_, defaults_rule_;
  KarloTextEncoder text_encoder_;
  std::optional<KarloPrior> prior_;
  std::optional<KarloImageEncoder> image_encoder_;
  KarloDecoder decoder_;
  KarloSuperResolution super_resolution_;
  GenerationOptions defaults_;
};

}  // namespace readback::generate
