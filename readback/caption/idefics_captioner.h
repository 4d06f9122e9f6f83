// Captions by IDEFICS, as transformers' IdeficsForVisionText2Text.generate gives them.
#pragma once
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

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
  // A repository of class IdeficsForVisionText2Text. Errors: CheckpointError.
  IdeficsCaptioner(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype);

  Capabilities capabilities() const override;
  // Beam 3, at most 30 new tokens; when sampling top_p 0.9. The prompt: "Caption:", or "Describe this image."
  DecodingOptions defaults() const override;

 private:
  struct Parts;
  explicit IdeficsCaptioner(Parts parts);
  Reading read(const Request& request, const std::string& prompt) const override;
  std::vector<std::vector<Decoded>> decode(std::span<const Reading> readings, const DecodingOptions& options,
                                           std::span<const Random> streams,
                                           const TokenCallback& on_token) const override;
  at::Tensor logits(std::span<const Reading> readings, int64_t known) const override;
  at::Tensor image_states(std::span<const Reading> readings) const;  // [S, I · L, Cv]
  at::Tensor seen(std::span<const Reading> readings) const;          // int64 [S, T]

  std::shared_ptr<const models::Idefics> model_;
  image::PreprocessOptions preprocessing_;
  int64_t image_token_ = 0;
  bool instructed_ = false;
};

}  // namespace readback::caption
