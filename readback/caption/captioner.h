// The interface that roundtrip/ knows: images in, candidate texts out.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "readback/base/context.h"
#include "readback/base/result.h"
#include "readback/caption/decoding_options.h"
#include "readback/image/image.h"

namespace readback::caption {

using Part = std::variant<image::Image, std::string>;  // of a sequence of pictures and texts

struct Request {
  image::Image image;
  std::string sample;                 // key of the random stream: same sample, same captions
  int64_t candidate = 0;              // of the first caption: caption i draws from stream (seed, sample, candidate + i)
  std::optional<std::string> prompt;  // in place of the options'
  std::vector<Part> examples;         // what few-shot captioners read before the image, in this order
};

struct Caption {
  std::string text;
  // As transformers' generate() returns them: begin token, prompt, text, end token.
  std::optional<std::vector<int64_t>> token_ids;
  // Natural log, summed over the tokens after the prompt, under the unfiltered model.
  std::optional<double> log_probability;
};

// How probable a text is.
struct TextProbability {
  double log_probability = 0;  // natural log, summed over the text's tokens and the end token
  int64_t tokens = 0;          // of these
  double per_token() const { return log_probability / static_cast<double>(tokens); }
};

// What a captioner can do. The defaults promise nothing.
struct Capabilities {
  bool log_probabilities = false;   // of its captions
  bool text_probabilities = false;  // of any text
  bool answers = false;             // how probable an answer to a question of a picture is
  bool token_ids = false;
  bool honours_seeds = false;     // equal seed, sample and candidate give equal captions
  bool examples = false;          // pictures and texts before the image
  bool concurrent = false;        // caption() may be called by several threads at once
  int64_t max_prompt_tokens = 0;  // 0: no limit that is known
  int64_t best_batch = 0;         // requests of a call beyond which it gains nothing; 0: any number
};

class Captioner {
 public:
  virtual ~Captioner() = default;

  // One result a request, in their order: options.num_captions captions, best first when searching, or why there are
  // none. Errors, all of which concern the call as a whole: UsageError (an option or a request that the captioner does
  // not know), Interrupted, EngineError, NetworkError; what else is thrown is a fault of the program.
  virtual std::vector<Result<std::vector<Caption>>> caption(std::span<const Request> requests,
                                                            const DecodingOptions& options,
                                                            const Context& context = {}) = 0;

  // How probable each text is as the caption of the picture in its place, after the prompt of defaults(), under the
  // unfiltered model. As many texts as pictures; a picture that stands several times in a row is read once. Only of
  // captioners with text_probabilities. Errors: as caption()'s.
  virtual std::vector<Result<TextProbability>> text_probabilities(std::span<const image::Image* const> images,
                                                                  std::span<const std::string> texts,
                                                                  const Context& context = {});

  // How probable it is, 0 to 1, that the answer to each question of the picture in its place is the one word `answer`.
  // As many questions as pictures. Only of captioners with answers. Errors: as caption()'s.
  virtual std::vector<Result<double>> answer_probabilities(std::span<const image::Image* const> images,
                                                           std::span<const std::string> questions,
                                                           const std::string& answer, const Context& context = {});

  virtual std::string description() const = 0;  // for people: "BLIP emoji-scenes/captioner, float32"
  // What must be equal for captions to be, as "KIND:VALUE": the digest of a local model's repository, the endpoint and
  // model of a remote one.
  virtual std::string identity() const { return "name:" + description(); }
  virtual Capabilities capabilities() const { return {}; }
  virtual DecodingOptions defaults() const { return {}; }
  // Of captioners elsewhere, for people; empty of others. What so many captions of each of so many images will be asked
  // for at most and cost, and what calls have asked for and cost so far.
  virtual std::string estimate(int64_t /*images*/, int64_t /*captions*/) const { return {}; }
  virtual std::string account() const { return {}; }
};

}  // namespace readback::caption
