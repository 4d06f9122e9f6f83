#include "readback/caption/decoding_options.h"

#include "readback/base/error.h"

namespace readback::caption {

DecodingOptions resolve(const DecodingOptions& asked, const DecodingOptions& defaults) {
  check_options(asked);
  const auto refuse = [&](const auto& value, const char* name, const char* when) {
    if (value) throw UsageError(describe(name, std::string("left away ") + when, "a value", "It would do nothing"));
  };
  // transformers' GenerationConfig.
  DecodingOptions last{.prompt = "", .max_length = 20, .min_length = 0, .repetition_penalty = 1.0};
  DecodingOptions known = defaults;
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

}  // namespace readback::caption
