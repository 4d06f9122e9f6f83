// Captions by IDEFICS, as transformers' IdeficsForVisionText2Text.generate gives them.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "readback/caption/token_captioner.h"
#include "readback/image/preprocess.h"
#include "readback/models/idefics/idefics.h"

namespace readback::caption {

// How a picture stands in a text, and what the base model is asked for behind it.
inline constexpr const char* kIdeficsPicture = "<fake_token_around_image><image><fake_token_around_image>";
inline constexpr const char* kIdeficsPrompt = "Caption:";

// The examples and the picture as one text, as IdeficsProcessor writes it. The base model reads
//   <picture>Caption: text ⏎ <picture>Caption:
// and ends with the line; the instructed one (whose tokenizer knows <end_of_utterance>) reads
//   User:<picture>prompt<end_of_utterance> ⏎ Assistant: text<end_of_utterance> ⏎ User:<picture>prompt<end_of_utterance>
//   ⏎ Assistant:
class IdeficsCaptioner final : public TokenCaptioner {
 public:
  // A repository of class IdeficsForVisionText2Text, and its weights. Errors: CheckpointError.
  IdeficsCaptioner(const checkpoint::Repository& repository, const nn::Weights& weights, std::string identity = {});

  Capabilities capabilities() const override;
  // Beam 3, at most 30 new tokens; when sampling top_p 0.9. The prompt: "Caption:", or "Describe this image."
  DecodingOptions defaults() const override;

  at::Tensor patches(const at::Tensor& pixels) const override;

 private:
  struct Parts;
  explicit IdeficsCaptioner(Parts parts);
  Reading read(const Request& request, const std::string& prompt) const override;
  at::Tensor image_tokens(const at::Tensor& patches) const override;
  at::Tensor text_logits(const Pictures& pictures, const Texts& texts) const override;
  Started start(const Pictures& pictures, const Texts& prompts, int64_t max_length) const override;
  at::Tensor image_states(const Pictures& pictures) const;  // [G, I · L, Cv]
  at::Tensor seen(const at::Tensor& ids) const;             // int64 [S, T]

  std::shared_ptr<const models::Idefics> model_;
  int64_t image_token_ = 0;
  bool instructed_ = false;
};

}  // namespace readback::caption
