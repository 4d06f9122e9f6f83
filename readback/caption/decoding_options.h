// How a captioner chooses its words.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>

#include "readback/base/options.h"

namespace readback::caption {

// Names and meaning as in transformers' generate(). What is left open is the backend's to say (Captioner::defaults).
struct DecodingOptions {
  std::optional<std::string> prompt;
  int64_t num_captions = 1;
  std::optional<int64_t> num_beams;                       // the search's
  std::optional<int64_t> max_length, min_length;          // either these …
  std::optional<int64_t> max_new_tokens, min_new_tokens;  // … or these
  std::optional<double> length_penalty;                   // the search's
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
        option(&O::max_new_tokens, "max_new_tokens", "Tokens after the prompt, in place of max_length", at_least(1)),
        option(&O::min_new_tokens, "min_new_tokens", "Tokens after the prompt, in place of min_length", at_least(0)),
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
// nothing either: of the two ways to say how long, which exclude each other, of num_beams and length_penalty when
// searching, of top_p, top_k and temperature when sampling. Errors: UsageError for a value out of range, and for an
// option that would do nothing (top_p when searching).
DecodingOptions resolve(const DecodingOptions& asked, const DecodingOptions& defaults);

// Resolved options with max_length and min_length as they are for a prompt of so many tokens.
DecodingOptions for_prompt(DecodingOptions options, int64_t prompt_tokens);

}  // namespace readback::caption
