// Karlo's stages: texts, the image's embedding, the small picture, the large one. Each is loaded from the folders of a
// pipeline, computes in its weights' type and gives fp32. Private to generate/. Errors of all constructors:
// CheckpointError. B requests of a call, E width of CLIP's embeddings.
#pragma once
#include <ATen/core/Tensor.h>

#include <memory>

#include "readback/checkpoint/repository.h"
#include "readback/generate/karlo_call.h"
#include "readback/image/preprocess.h"
#include "readback/models/clip/clip.h"
#include "readback/models/karlo/prior.h"
#include "readback/models/karlo/text_projection.h"
#include "readback/models/karlo/unet.h"
#include "readback/models/part.h"
#include "readback/text/framing.h"

namespace readback::generate {

// tokenizer, text_encoder
class KarloTextEncoder {
 public:
  KarloTextEncoder(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype);
  KarloTexts encode(std::span<const Request> requests) const;
  int64_t max_tokens() const { return framing_.length; }  // begin and end token included

 private:
  std::unique_ptr<text::Tokenizer> tokenizer_;
  models::Part<models::ClipTextModelWithProjection> model_;
  text::Framing framing_;
  c10::Device device_;
};

// prior, prior_scheduler
class KarloPrior {
 public:
  KarloPrior(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype);
  at::Tensor image_embeds(const KarloCall& call, const KarloTexts& texts) const;  // [B, E]
  int64_t num_embeddings() const { return prior_.model->config.num_embeddings; }  // tokens of a text

 private:
  models::Part<models::Prior> prior_;
  UnclipSchedule schedule_;
  KarloPlace place_;
};

// image_encoder, feature_extractor
class KarloImageEncoder {
 public:
  KarloImageEncoder(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype);
  at::Tensor image_embeds(const KarloCall& call) const;  // [B, E], of the requests' pictures

 private:
  models::Part<models::ClipVisionModelWithProjection> model_;
  image::PreprocessOptions preprocessing_;
  KarloPlace place_;
};

// text_proj, decoder, decoder_scheduler
class KarloDecoder {
 public:
  KarloDecoder(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype);
  // image_embeds: [B, E], whoever made them → [B, 3, h, w] in [-1, 1]
  at::Tensor draw(const KarloCall& call, const KarloTexts& texts, const at::Tensor& image_embeds) const;

 private:
  models::KarloContext context_of(const KarloTexts& texts, const at::Tensor& image_embeds, int64_t first, int64_t last,
                                  bool guided) const;
  models::Part<models::TextProjection> text_projection_;
  models::Part<models::KarloUnet> unet_;
  UnclipSchedule schedule_;
  KarloPlace place_;
};

// super_res_first, super_res_last, super_res_scheduler
class KarloSuperResolution {
 public:
  KarloSuperResolution(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype);
  // [B, 3, h, w] in [-1, 1] → [B, 3, side, side], about the same range
  at::Tensor enlarge(const KarloCall& call, const at::Tensor& pictures) const;
  int64_t side() const { return first_.model->config.sample_size; }

 private:
  models::Part<models::KarloUnet> first_, last_;
  UnclipSchedule schedule_;
  KarloPlace place_;
};

// A scheduler's folder. Errors: CheckpointError.
UnclipSchedule read_unclip_schedule(const checkpoint::Repository& repository, const std::string& part);

}  // namespace readback::generate
