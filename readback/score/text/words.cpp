#include "readback/score/text/words.h"

#include <algorithm>
#include <cstdint>

namespace readback::score {

namespace {

// Length in bytes of the blank at `at`, 0 if there is none.
size_t blank_length(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : 0; };
  const uint8_t first = byte(at);
  if (first < 0x80) return first == ' ' || (first >= '\t' && first <= '\r') || (first >= 0x1C && first <= 0x1F);
  const uint8_t second = byte(at + 1), third = byte(at + 2);
  switch (first) {
    case 0xC2:  // U+0085, U+00A0
      return second == 0x85 || second == 0xA0 ? 2 : 0;
    case 0xE1:  // U+1680
      return second == 0x9A && third == 0x80 ? 3 : 0;
    case 0xE2:  // U+2000 … U+200A, U+2028, U+2029, U+202F, U+205F
      if (second == 0x80) return third <= 0x8A || third == 0xA8 || third == 0xA9 || third == 0xAF ? 3 : 0;
      return second == 0x81 && third == 0x9F ? 3 : 0;
    case 0xE3:  // U+3000
      return second == 0x80 && third == 0x80 ? 3 : 0;
    default:
      return 0;
  }
}

}  // namespace

Tokens split_words(std::string_view text) {
  Tokens words;
  size_t begin = 0, at = 0;
  while (at <= text.size()) {
    const size_t blank = at < text.size() ? blank_length(text, at) : 1;
    if (blank == 0) {
      ++at;
      continue;
    }
    if (at > begin) words.emplace_back(text.substr(begin, at - begin));
    begin = at += blank;
  }
  return words;
}

Tokens split_tokens(Tokens tokens) {
  const auto has_blank = [](const std::string& token) {
    for (size_t at = 0; at < token.size(); ++at) {
      if (blank_length(token, at) != 0) return true;
    }
    return false;
  };
  if (std::none_of(tokens.begin(), tokens.end(), has_blank)) return tokens;
  Tokens result;
  for (const std::string& token : tokens) {
    for (std::string& word : split_words(token)) result.push_back(std::move(word));
  }
  return result;
}

}  // namespace readback::score
