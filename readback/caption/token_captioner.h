// What captioners have in common that extend a text token by token: prompts, batches, failures, random streams, texts;
// and what learning asks of them. A subclass says what its model reads of a request, and computes.
// S texts, T tokens, V vocabulary; sets of N pictures (or pieces of pictures), P patches of each, C their width.
#pragma once
#include <ATen/core/Tensor.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "readback/caption/captioner.h"
#include "readback/caption/decoding.h"
#include "readback/checkpoint/repository.h"
#include "readback/image/preprocess.h"
#include "readback/text/tokenizer.h"

namespace readback::caption {

// What a model is given of a request.
struct Reading {
  std::vector<const image::Image*> images;  // the examples', then the request's
  std::vector<int64_t> ids;                 // begin token, examples, prompt; then what is scored
  std::vector<int64_t> source_ids;          // of encoder-decoders: what the encoder reads
};

// A text behind a picture and the prompt, with its end token.
struct Written {
  Reading reading;
  int64_t known = 0;  // how many of its tokens come before the text's
};

// Sets of pictures as a model has read them so far, and which of them each text is about.
struct Pictures {
  std::vector<at::Tensor> sets;  // [N, P, C]
  std::vector<int64_t> rows;     // [S]
  // Whether the texts of a set stand side by side, equally many of each, all sets in turn: models share its keys then.
  bool side_by_side() const;
};

// Texts that are read at once, those of a set of pictures by the order of Pictures::rows.
struct Texts {
  at::Tensor ids;              // int64 [S, T]; what stands behind a shorter text changes nothing of it
  at::Tensor source_ids;       // of encoder-decoders: what the encoder reads, int64 [S, T']; else undefined
  std::vector<int64_t> known;  // [S]: how many of the tokens come before those that are asked about
};
// A shorter text is followed by its last token, again and again.
Texts texts_of(std::span<const Written> written);

class TokenCaptioner : public Captioner {
 public:
  struct About {
    std::string description, identity;
    int64_t batch_size = 1;     // requests at a time
    int64_t max_positions = 0;  // tokens of a text, prompt and end token included
    std::vector<int64_t> end_tokens;
    int64_t begin_token = 0;      // with which a text begins
    int64_t vocabulary_size = 0;  // V
    int64_t image_size = 0;       // H and W of what patches() reads
    bool reads_sizes = false;     // whether a picture's size decides its pieces, and with them what is written
    int64_t pieces_at_once = 1;   // of pictures, through the vision model
    double label_smoothing = 0;   // that the configuration asks of losses
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

  const About& about() const { return about_; }
  const text::Tokenizer& tokenizer() const { return *tokenizer_; }

  // What follows is differentiable unless the model was made for inference.

  // How a piece of a picture becomes what patches() reads.
  const image::PreprocessOptions& preprocessing() const { return preprocessing_; }
  // What the vision model reads of a picture, one by one; by default the picture.
  virtual std::vector<image::Image> pieces(const image::Image& image) const { return {image}; }
  // What the vision model makes of them: [N, 3, H, W] → [N, P, C].
  virtual at::Tensor patches(const at::Tensor& pixels) const = 0;
  // `text` behind a picture of this size and the default prompt, as text_probabilities() reads it; 0 × 0: behind a
  // picture that is one piece. The picture itself is left open.
  Written write(const std::string& text, int64_t width, int64_t height) const;
  // Of each text's tokens from `known` on, and of what follows the last: [S, max(T - known) + 1, V]. `pictures` as
  // patches() gives them.
  at::Tensor logits(const Pictures& pictures, const Texts& texts) const;
  // options.num_captions texts of each reading; `options` are resolved, `streams` as decode() in decoding.h has them.
  // `pictures` as patches() gives them. Without gradients. Errors: UsageError, DataError.
  std::vector<std::vector<Decoded>> decode(const Pictures& pictures, std::span<const Reading> readings,
                                           const DecodingOptions& options, std::span<const Random> streams) const;
  // What was decoded behind a prompt, whose tokens are the first `prompt_tokens`.
  virtual std::string text(const std::vector<int64_t>& ids, int64_t prompt_tokens) const;

 protected:
  TokenCaptioner(About about, std::shared_ptr<const text::Tokenizer> tokenizer,
                 const image::PreprocessOptions& preprocessing)
      : about_(std::move(about)), tokenizer_(std::move(tokenizer)), preprocessing_(preprocessing) {}

  // A model with its state, and the logits of what follows each group's prompt, float32 [G, V].
  struct Started {
    std::unique_ptr<StepModel> steps;
    at::Tensor logits;
  };

  // Errors: UsageError for examples before the picture where the model takes none.
  virtual Reading read(const Request& request, const std::string& prompt) const = 0;
  // What the language model reads of patches, [N, P, C] → [N, P', C']; by default these.
  virtual at::Tensor image_tokens(const at::Tensor& patches) const { return patches; }
  // As logits(), of image tokens.
  virtual at::Tensor text_logits(const Pictures& pictures, const Texts& texts) const = 0;
  // Texts of equally many tokens and pictures, to go on with up to `max_length` tokens; of image tokens.
  virtual Started start(const Pictures& pictures, const Texts& prompts, int64_t max_length) const = 0;
  // Of a text that follows the prompt, without end token.
  virtual std::vector<int64_t> encode(const std::string& text) const { return tokenizer_->encode(text); }

 private:
  std::vector<Result<std::vector<Caption>>> caption_batch(std::span<const Request> requests,
                                                          std::span<const Reading> readings,
                                                          const DecodingOptions& options, const Context& context) const;
  std::vector<std::vector<Caption>> decode_batch(std::span<const Request> requests, std::span<const Reading> readings,
                                                 const DecodingOptions& options, const Context& context) const;
  std::vector<TextProbability> score(std::span<const Written> texts) const;
  Pictures see(std::span<const Reading> readings) const;
  Pictures with_image_tokens(const Pictures& pictures) const;
  std::vector<std::vector<Decoded>> decode_alike(const Pictures& pictures, std::span<const Reading> readings,
                                                 const DecodingOptions& options, std::span<const Random> streams,
                                                 const TokenCallback& on_token) const;

  About about_;
  std::shared_ptr<const text::Tokenizer> tokenizer_;
  image::PreprocessOptions preprocessing_;
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

// For subclasses.
// How many pieces of `patches` patches fill the machine, about a thousand patches; more would only take memory.
int64_t pieces_at_once(int64_t patches);
// How many requests keep `values` keys and values each, of the weight's type, in 256 MiB: enough that the decoder's
// weights, which every step reads from memory, are shared by many.
int64_t requests_at_once(int64_t values, const at::Tensor& weight);
// The states [S, T, C] that the asked logits are computed from: those of the tokens before each, and of the last.
at::Tensor asked(const at::Tensor& hidden, const Texts& texts);
// The image tokens of each text: [S, N · P', C'].
at::Tensor of_each_text(const Pictures& pictures);

}  // namespace readback::caption
