// How a text encoder wants its tokens.
#pragma once
#include <cstdint>
#include <vector>

#include "readback/text/tokenizer.h"

namespace readback::text {

// Begin token, the text's, end token, and padding up to `length`; of longer texts the first tokens.
struct Framing {
  int64_t begin = 0, end = 0, padding = 0, length = 0;
  Padded operator()(const std::vector<int64_t>& ids) const { return pad(ids, begin, end, padding, length); }
};

// CLIP's: the tokenizer's bos_token and eos_token, or <|startoftext|> and <|endoftext|> where its files name none;
// padded with its pad_token or else with the end token, to its model_max_length, but not beyond `positions`, the text
// encoder's. Errors: CheckpointError naming `where` when the vocabulary has no such tokens.
Framing clip_framing(const Tokenizer& tokenizer, int64_t positions, const std::string& where);

}  // namespace readback::text
