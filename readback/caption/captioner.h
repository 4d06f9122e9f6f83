// The interface that roundtrip/ knows: images in, candidate texts out.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "readback/image/image.h"

namespace readback::caption {

// Names and meaning as in transformers' generate().
struct DecodingOptions {
  std::string prompt = "a picture of ";  // begins every caption and is not part of the returned text
  int64_t num_captions = 1;              // candidates per image; with beams: the best of num_beams
  int64_t num_beams = 3;                 // 1 = greedy; ignored when sampling
  int64_t max_length = 20;               // in tokens, the prompt's counted
  int64_t min_length = 5;
  double length_penalty = 1.0;
  double repetition_penalty = 1.0;
  bool do_sample = false;
  double top_p = 0.9;                    // nucleus; 1 keeps all
  int64_t top_k = 0;                     // 0 keeps all
  double temperature = 1.0;
  uint64_t seed = 0;
};

struct Request {
  image::Image image;
  std::string sample;      // key of the random stream: same sample, same captions
  int64_t candidate = 0;   // index of the first candidate: candidate i draws from stream (seed, sample, candidate + i)
};

struct Caption {
  std::string text;
  std::vector<int64_t> token_ids;  // as transformers' generate() returns them: begin token, prompt, text, end token
  double log_probability = 0;      // natural log, summed over the tokens after the prompt, under the unfiltered model
};

class Captioner {
 public:
  virtual ~Captioner() = default;
  // One list of options.num_captions captions per request, best first when searching. Errors: DataError, UsageError.
  virtual std::vector<std::vector<Caption>> caption(std::span<const Request> requests, const DecodingOptions& options) = 0;
  virtual std::string description() const = 0;  // e.g. "BLIP assets/emoji-scenes/captioner, float32"
};

}  // namespace readback::caption
