#include "readback/caption/decoding_options.h"

#include "readback/base/error.h"

namespace readback::caption {

DecodingOptions resolve(const DecodingOptions& asked, const DecodingOptions& defaults) {
  check_options(asked);
  const auto refuse = [&](const auto& value, const char* name, const char* when) {
    if (value) throw UsageError(describe(name, std::string("left away ") + when, "a value", "It would do nothing"));
  };
  if (asked.max_length) refuse(asked.max_new_tokens, "max_new_tokens", "where max_length is given");
  if (asked.min_length) refuse(asked.min_new_tokens, "min_new_tokens", "where min_length is given");
  // transformers' GenerationConfig.
  DecodingOptions last{.prompt = "", .repetition_penalty = 1.0};
  DecodingOptions known = defaults;
  if (asked.max_length) known.max_new_tokens.reset();
  if (asked.max_new_tokens) known.max_length.reset();
  if (asked.min_length) known.min_new_tokens.reset();
  if (asked.min_new_tokens) known.min_length.reset();
  if (!asked.max_new_tokens && !known.max_new_tokens) last.max_length = 20;
  if (!asked.min_new_tokens && !known.min_new_tokens) last.min_length = 0;
  if (asked.do_sample) {
    refuse(asked.num_beams, "num_beams", "when sampling (do_sample)");
    refuse(asked.length_penalty, "length_penalty", "when sampling (do_sample)");
    known.num_beams.reset();
    known.length_penalty.reset();
    last.top_p = 1.0;
    last.top_k = 0;
    last.temperature = 1.0;
  } else {
    refuse(asked.top_p, "top_p", "unless sampling (do_sample)");
    refuse(asked.top_k, "top_k", "unless sampling (do_sample)");
    refuse(asked.temperature, "temperature", "unless sampling (do_sample)");
    known.top_p.reset();
    known.top_k.reset();
    known.temperature.reset();
    last.num_beams = 1;
    last.length_penalty = 1.0;
  }
  return with_defaults(with_defaults(asked, known), last);
}

DecodingOptions for_prompt(DecodingOptions options, int64_t prompt_tokens) {
  if (options.max_new_tokens) options.max_length = prompt_tokens + *options.max_new_tokens;
  if (options.min_new_tokens) options.min_length = prompt_tokens + *options.min_new_tokens;
  options.max_new_tokens.reset();
  options.min_new_tokens.reset();
  return options;
}

}  // namespace readback::caption
