// Captions by BLIP, as transformers' BlipForConditionalGeneration.generate gives them.
#pragma once
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "readback/caption/captioner.h"
#include "readback/caption/decoding.h"
#include "readback/checkpoint/repository.h"
#include "readback/image/preprocess.h"
#include "readback/models/blip/blip.h"
#include "readback/text/tokenizer.h"

namespace readback::caption {

// Captions by `model`, which may still be in training, of images that its vision model has read, [B, P, C]; the
// begin token comes first in each image's prompt. Images whose prompts are equally long are decoded together.
// `streams` as decode() has them. Errors: UsageError, DataError.
std::vector<std::vector<Decoded>> decode(const models::Blip& model, const at::Tensor& images,
                                         const std::vector<std::vector<int64_t>>& prompts,
                                         const DecodingOptions& options, std::span<const Random> streams,
                                         const TokenCallback& on_token = {});
// With one prompt for all images.
std::vector<std::vector<Decoded>> decode(const models::Blip& model, const at::Tensor& images,
                                         const std::vector<int64_t>& prompt, const DecodingOptions& options,
                                         std::span<const Random> streams);

// With what BLIP was trained on captions.
inline constexpr const char* kBlipPrompt = "a picture of ";

class BlipCaptioner final : public Captioner {
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
  // A repository with config.json, weights, tokenizer and preprocessor_config.json.
  // Errors: CheckpointError, also when the architecture is another.
  BlipCaptioner(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype);

  std::vector<Result<std::vector<Caption>>> caption(std::span<const Request> requests, const DecodingOptions& options,
                                                    const Context& context = {}) override;
  std::string description() const override { return parts_.description; }
  std::string identity() const override { return parts_.identity; }
  Capabilities capabilities() const override;
  // As in the paper: beam 3, lengths 5 to 20, kBlipPrompt; when sampling top_p 0.9.
  DecodingOptions defaults() const override;

  // A failure for a text that is longer than the model's positions.
  std::vector<Result<TextProbability>> text_probabilities(std::span<const image::Image* const> images,
                                                          std::span<const std::string> texts,
                                                          const Context& context = {}) override;

 private:
  std::vector<int64_t> prompt_ids(const std::string& prompt) const;
  std::vector<TextProbability> probabilities(std::span<const image::Image* const> images,
                                             std::span<const std::vector<int64_t>> sequences, int64_t known) const;
  at::Tensor read_images(std::span<const image::Image* const> images) const;  // [B, P, C]
  std::vector<Result<std::vector<Caption>>> caption_batch(std::span<const Request> requests,
                                                          std::span<const std::vector<int64_t>> prompts,
                                                          const DecodingOptions& options, const Context& context) const;
  std::vector<std::vector<Caption>> decode_batch(std::span<const Request> requests,
                                                 std::span<const std::vector<int64_t>> prompts,
                                                 const DecodingOptions& options, const Context& context) const;

  Parts parts_;
};

}  // namespace readback::caption
