// Captions by BLIP, as transformers' BlipForConditionalGeneration.generate gives them.
#pragma once
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "readback/caption/token_captioner.h"
#include "readback/checkpoint/repository.h"
#include "readback/image/preprocess.h"
#include "readback/models/blip/blip.h"
#include "readback/text/tokenizer.h"

namespace readback::caption {

// With what BLIP was trained on captions.
inline constexpr const char* kBlipPrompt = "a picture of ";

class BlipCaptioner final : public TokenCaptioner {
 public:
  // What a captioner is made of: for a model that is still being trained.
  struct Parts {
    std::shared_ptr<const models::Blip> model;
    std::shared_ptr<const text::Tokenizer> tokenizer;
    image::PreprocessOptions preprocessing;
    std::string description, identity;
    int64_t batch_size = 0;  // images at a time; 0: as many as keep their keys and values below 256 MiB, at most 64
  };

  explicit BlipCaptioner(Parts parts);
  // A repository with config.json, weights, tokenizer and preprocessor_config.json; of other weights it has no
  // identity. Errors: CheckpointError, also when the architecture is another.
  BlipCaptioner(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype);
  BlipCaptioner(const checkpoint::Repository& repository, const nn::Weights& weights, std::string identity = {});

  // As in the paper: beam 3, lengths 5 to 20, kBlipPrompt; when sampling top_p 0.9.
  DecodingOptions defaults() const override;

  at::Tensor patches(const at::Tensor& pixels) const override;
  std::string text(const std::vector<int64_t>& ids, int64_t prompt_tokens) const override;

 private:
  Reading read(const Request& request, const std::string& prompt) const override;
  at::Tensor text_logits(const Pictures& pictures, const Texts& texts) const override;
  Started start(const Pictures& pictures, const Texts& prompts, int64_t max_length) const override;
  models::BlipState prepare(const Pictures& pictures) const;

  std::shared_ptr<const models::Blip> model_;
};

}  // namespace readback::caption
