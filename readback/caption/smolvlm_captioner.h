// Captions by SmolVLM, as transformers' SmolVLMForConditionalGeneration.generate gives them.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "readback/caption/token_captioner.h"
#include "readback/image/tiles.h"
#include "readback/models/smolvlm/smolvlm.h"

namespace readback::caption {

// A conversation in the repositories' own template: for each example, and for the picture, the user shows it and says
// the prompt, and the assistant answers.
class SmolVlmCaptioner final : public TokenCaptioner {
 public:
  // A repository of class SmolVLMForConditionalGeneration, or Idefics3ForConditionalGeneration as the first release
  // was, and its weights. Errors: CheckpointError.
  SmolVlmCaptioner(const checkpoint::Repository& repository, const nn::Weights& weights, std::string identity = {});

  Capabilities capabilities() const override;
  // kSmolVlmPrompt, beam 3, at most 40 new tokens; when sampling top_p 0.9.
  DecodingOptions defaults() const override;

  std::vector<image::Image> pieces(const image::Image& image) const override;
  at::Tensor patches(const at::Tensor& pixels) const override;

 private:
  struct Parts;
  explicit SmolVlmCaptioner(Parts parts);
  Reading read(const Request& request, const std::string& prompt) const override;
  at::Tensor image_tokens(const at::Tensor& patches) const override;
  at::Tensor text_logits(const Pictures& pictures, const Texts& texts) const override;
  Started start(const Pictures& pictures, const Texts& prompts, int64_t max_length) const override;
  std::vector<int64_t> encode(const std::string& text) const override;
  std::string picture_tokens(const image::Image& image) const;
  at::Tensor embeddings(const Pictures& pictures, const Texts& texts) const;  // [S, T, C]

  std::shared_ptr<const models::SmolVlm> model_;
  image::TileOptions tiles_;
};

// What the picture is shown with. Of text_probabilities it is the prompt, too.
inline constexpr const char* kSmolVlmPrompt = "Describe this image.";

}  // namespace readback::caption
