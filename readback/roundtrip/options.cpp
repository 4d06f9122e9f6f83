#include "readback/roundtrip/options.h"

#include "readback/base/options_json.h"

namespace readback::roundtrip {

caption::DecodingOptions candidate_decoding() { return {.repetition_penalty = 1.1, .do_sample = true, .top_p = 0.9}; }

caption::DecodingOptions read_back_decoding() { return {.num_beams = 3}; }

RunOptions resolve(RunOptions options, const caption::DecodingOptions& captioner,
                   const generate::GenerationOptions& generator) {
  check_options(options);
  if (!options.reading.prompt) options.reading.prompt = options.sampling.prompt;
  // A length is said in one of two ways.
  if (!options.reading.max_length && !options.reading.max_new_tokens) {
    options.reading.max_length = options.sampling.max_length;
    options.reading.max_new_tokens = options.sampling.max_new_tokens;
  }
  if (!options.reading.min_length && !options.reading.min_new_tokens) {
    options.reading.min_length = options.sampling.min_length;
    options.reading.min_new_tokens = options.sampling.min_new_tokens;
  }
  if (options.sampling.do_sample) options.sampling = with_defaults(options.sampling, candidate_decoding());
  if (!options.reading.do_sample) options.reading = with_defaults(options.reading, read_back_decoding());
  options.sampling = caption::resolve(options.sampling, captioner);
  options.reading = caption::resolve(options.reading, captioner);
  options.generation = with_defaults(options.generation, generator);
  return options;
}

nlohmann::json identity(const RunOptions& options, const Machine& machine) {
  nlohmann::json json = options_identity(options);
  json["dtype"] = machine.dtype_name();
  return json;
}

}  // namespace readback::roundtrip
