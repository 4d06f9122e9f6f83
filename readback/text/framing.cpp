#include "readback/text/framing.h"

#include <algorithm>

#include "readback/base/error.h"

namespace readback::text {

Framing clip_framing(const Tokenizer& tokenizer, int64_t positions, const std::string& where) {
  const auto find = [&](const char* role, std::string_view usual) {
    const int64_t named = tokenizer.special_id(role);
    return named >= 0 ? named : tokenizer.id(usual);
  };
  Framing framing{.begin = find("bos_token", "<|startoftext|>"), .end = find("eos_token", "<|endoftext|>")};
  if (framing.begin < 0 || framing.end < 0) {
    throw CheckpointError(describe(where, "bos_token and eos_token", "none"));
  }
  const int64_t padding = tokenizer.special_id("pad_token"), most = tokenizer.max_length();
  framing.padding = padding >= 0 ? padding : framing.end;
  framing.length = most > 0 ? std::min(most, positions) : positions;
  return framing;
}

}  // namespace readback::text
