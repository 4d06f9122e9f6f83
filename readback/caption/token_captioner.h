// What captioners have in common that extend a text token by token: prompts, batches, failures, random streams, texts.
// A subclass says what its model reads of a request, and decodes.
#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "readback/caption/captioner.h"
#include "readback/caption/decoding.h"
#include "readback/checkpoint/repository.h"
#include "readback/text/tokenizer.h"

namespace readback::caption {

// What a model is given of a request.
struct Reading {
  std::vector<const image::Image*> images;  // the examples', then the request's
  std::vector<int64_t> ids;                 // begin token, examples, prompt; then what is scored
  std::vector<int64_t> source_ids;          // of encoder-decoders: what the encoder reads
};

class TokenCaptioner : public Captioner {
 public:
  struct About {
    std::string description, identity;
    int64_t batch_size = 1;     // requests at a time
    int64_t max_positions = 0;  // tokens of a text, prompt and end token included
    std::vector<int64_t> end_tokens;
  };

  std::vector<Result<std::vector<Caption>>> caption(std::span<const Request> requests, const DecodingOptions& options,
                                                    const Context& context = {}) final;
  // A failure for a text that is longer than the model's positions.
  std::vector<Result<TextProbability>> text_probabilities(std::span<const image::Image* const> images,
                                                          std::span<const std::string> texts,
                                                          const Context& context = {}) final;
  std::string description() const final { return about_.description; }
  std::string identity() const final { return about_.identity; }
  Capabilities capabilities() const override;

 protected:
  TokenCaptioner(About about, std::shared_ptr<const text::Tokenizer> tokenizer)
      : about_(std::move(about)), tokenizer_(std::move(tokenizer)) {}

  const About& about() const { return about_; }
  const text::Tokenizer& tokenizer() const { return *tokenizer_; }

  // Errors: UsageError for examples before the picture where the model takes none.
  virtual Reading read(const Request& request, const std::string& prompt) const = 0;
  // options.num_captions texts of each reading; `options` are resolved, `streams` as decode() in decoding.h has them.
  // Without gradients. Errors: DataError.
  virtual std::vector<std::vector<Decoded>> decode(std::span<const Reading> readings, const DecodingOptions& options,
                                                   std::span<const Random> streams,
                                                   const TokenCallback& on_token) const = 0;
  // Of readings with equally many tokens and pictures: the logits of their tokens from `known` on, float32
  // [S, T - known, V].
  virtual at::Tensor logits(std::span<const Reading> readings, int64_t known) const = 0;
  // Of a text that follows the prompt, without end token.
  virtual std::vector<int64_t> encode(const std::string& text) const { return tokenizer_->encode(text); }
  // Of what was decoded: what follows the prompt, whose tokens are the first `prompt_tokens`.
  virtual std::string text(const std::vector<int64_t>& ids, int64_t prompt_tokens) const;

 private:
  std::vector<Result<std::vector<Caption>>> caption_batch(std::span<const Request> requests,
                                                          std::span<const Reading> readings,
                                                          const DecodingOptions& options, const Context& context) const;
  std::vector<std::vector<Caption>> decode_batch(std::span<const Request> requests, std::span<const Reading> readings,
                                                 const DecodingOptions& options, const Context& context) const;
  std::vector<TextProbability> score(std::vector<Reading> readings, int64_t known) const;

  About about_;
  std::shared_ptr<const text::Tokenizer> tokenizer_;
};

// For captioners that take no examples. Errors: UsageError.
void refuse_examples(const Request& request, const std::string& description);

// A request's examples: pictures, each with the text behind it. Errors: UsageError when they are anything else.
struct Shot {
  const image::Image* image;
  std::string text;
};
std::vector<Shot> shots(const Request& request);

// The ids that end a text, as transformers' generate() has them: generation_config.json's eos_token_id, one or several,
// else config.json's. Errors: CheckpointError when neither has one.
std::vector<int64_t> end_tokens(const checkpoint::Repository& repository);

// A model with its state, and the logits of what follows each group's prompt, float32 [G, V].
struct StartedSteps {
  std::unique_ptr<StepModel> steps;
  at::Tensor logits;
};

// Readings with equally many tokens and pictures are decoded together: `start` gets them, and how many tokens their
// texts may have in all. Results are in the readings' order; `streams` and `on_token` as decode() in decoding.h has
// them.
std::vector<std::vector<Decoded>> decode_alike(
    std::span<const Reading> readings, const std::vector<int64_t>& end_tokens, const DecodingOptions& options,
    std::span<const Random> streams, const TokenCallback& on_token,
    const std::function<StartedSteps(std::span<const Reading> readings, int64_t max_length)>& start);

// Lists of pictures, of which those that are equal and follow one another are one: a model reads them once.
struct DistinctImages {
  std::vector<std::vector<const image::Image*>> sets;
  std::vector<int64_t> rows;  // of each reading: its set
};
DistinctImages distinct_images(std::span<const Reading> readings);

}  // namespace readback::caption
