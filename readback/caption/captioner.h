// The interface that roundtrip/ knows: images in, candidate texts out.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <variant>
#include <vector>

#include "readback/base/context.h"
#include "readback/base/options.h"
#include "readback/base/result.h"
#include "readback/image/image.h"

namespace readback::caption {

// Names and meaning as in transformers' generate(). What is left open is the backend's to say (Captioner::defaults).
struct DecodingOptions {
  std::optional<std::string> prompt;
  int64_t num_captions = 1;
  std::optional<int64_t> num_beams;  // the search's
  std::optional<int64_t> max_length, min_length;
  std::optional<double> length_penalty;  // the search's
  std::optional<double> repetition_penalty;
  bool do_sample = false;
  std::optional<double> top_p;        // sampling's
  std::optional<int64_t> top_k;       // sampling's
  std::optional<double> temperature;  // sampling's
  uint64_t seed = 0;

  static constexpr auto options() {
    using O = DecodingOptions;
    return std::tuple(
        option(&O::prompt, "prompt", "What every caption begins with; it is not part of the returned text"),
        option(&O::max_length, "max_length", "Tokens, the prompt's counted", at_least(1)),
        option(&O::min_length, "min_length", "Tokens, the prompt's counted", at_least(0)),
        option(&O::repetition_penalty, "repetition_penalty", "Above 1: repeat less", more_than(0)),
        option(&O::do_sample, "do_sample", "Sample instead of searching with beams"),
        option(&O::num_beams, "num_beams", "When searching: beams; 1: greedy", at_least(1)),
        option(&O::length_penalty, "length_penalty",
               "When searching: exponent of the length that a beam's score is divided by"),
        option(&O::top_p, "top_p", "When sampling: smallest set of tokens with this probability; 1: all", {0, 1}),
        option(&O::top_k, "top_k", "When sampling: the k likeliest tokens; 0: all", at_least(0)),
        option(&O::temperature, "temperature", "When sampling: below 1 sharper, above 1 flatter", more_than(0)),
        option(&O::num_captions, "num_captions", "Candidates an image; with beams the best of them", at_least(1),
               Scope::kCall),
        option(&O::seed, "seed", "Of the random streams", Scope::kCall));
  }
};

// `asked` with what it leaves open taken from the backend, and from transformers' own defaults where that says
// nothing either: of num_beams and length_penalty when searching, of top_p, top_k and temperature when sampling.
// Errors: UsageError for a value out of range, and for an option that would do nothing (top_p when searching).
DecodingOptions resolve(const DecodingOptions& asked, const DecodingOptions& defaults);

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

// What a captioner can do. The defaults promise nothing.
struct Capabilities {
  bool log_probabilities = false;
  bool token_ids = false;
  bool honours_seeds = false;   // equal seed, sample and candidate give equal captions
  bool examples = false;        // pictures and texts before the image
  bool concurrent = false;      // caption() may be called by several threads at once
  int64_t max_prompt_tokens = 0;  // 0: no limit that is known
  int64_t best_batch = 0;         // requests of a call beyond which it gains nothing; 0: any number
};

class Captioner {
 public:
  virtual ~Captioner() = default;

  // One result a request, in their order: options.num_captions captions, best first when searching, or why there are
  // none. Errors, all of which concern the call as a whole: UsageError (an option or a request that the captioner does
  // not know), Interrupted, DeviceError, NetworkError; what else is thrown is a fault of the program.
  virtual std::vector<Result<std::vector<Caption>>> caption(std::span<const Request> requests,
                                                            const DecodingOptions& options,
                                                            const Context& context = {}) = 0;

  virtual std::string description() const = 0;  // for people: "BLIP emoji-scenes/captioner, float32"
  // What must be equal for captions to be, as "KIND:VALUE": the digest of a local model's repository, the endpoint and
  // model of a remote one.
  virtual std::string identity() const { return "name:" + description(); }
  virtual Capabilities capabilities() const { return {}; }
  virtual DecodingOptions defaults() const { return {}; }
};

}  // namespace readback::caption
