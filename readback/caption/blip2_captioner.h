// Captions by BLIP-2, as transformers' Blip2ForConditionalGeneration.generate gives them.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "readback/caption/token_captioner.h"
#include "readback/image/preprocess.h"
#include "readback/models/blip2/blip2.h"

namespace readback::caption {

class Blip2Captioner final : public TokenCaptioner {
 public:
  // A repository of class Blip2ForConditionalGeneration with OPT or T5, and its weights. Errors: CheckpointError.
  Blip2Captioner(const checkpoint::Repository& repository, const nn::Weights& weights, std::string identity = {});

  // As its authors caption COCO: kBlip2Prompt, beam 5, 8 to 30 new tokens; when sampling top_p 0.9.
  DecodingOptions defaults() const override;

  at::Tensor patches(const at::Tensor& pixels) const override;

 private:
  struct Parts;
  explicit Blip2Captioner(Parts parts);
  Reading read(const Request& request, const std::string& prompt) const override;
  at::Tensor image_tokens(const at::Tensor& patches) const override;
  at::Tensor text_logits(const Pictures& pictures, const Texts& texts) const override;
  Started start(const Pictures& pictures, const Texts& prompts, int64_t max_length) const override;
  std::vector<int64_t> encode(const std::string& text) const override;
  // What the language model is given: of OPT the pictures and all ids, of T5 the pictures and what its encoder reads.
  at::Tensor embeddings(const Pictures& pictures, const Texts& texts) const;

  std::shared_ptr<const models::Blip2> model_;
  int64_t image_token_ = 0;
};

inline constexpr const char* kBlip2Prompt = "a photo of";

}  // namespace readback::caption
