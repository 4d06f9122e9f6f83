#include "readback/score/text/caption_tokens.h"

namespace readback::score {

namespace {

constexpr std::string_view kBlanks = " \t\n\v\f\r";
constexpr std::string_view kMarks = ".?!,:;'\"`-()[]{}";

}  // namespace

Tokens split_words(std::string_view text) {
  Tokens words;
  for (size_t begin = text.find_first_not_of(kBlanks); begin != std::string_view::npos;) {
    const size_t end = std::min(text.find_first_of(kBlanks, begin), text.size());
    words.emplace_back(text.substr(begin, end - begin));
    begin = text.find_first_not_of(kBlanks, end);
  }
  return words;
}

Tokens caption_tokens(std::string_view text) {
  Tokens tokens;
  for (std::string& word : split_words(text)) {
    const size_t first = word.find_first_not_of(kMarks);
    if (first == std::string::npos) continue;
    word = word.substr(first, word.find_last_not_of(kMarks) - first + 1);
    for (char& c : word) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    tokens.push_back(std::move(word));
  }
  return tokens;
}

}  // namespace readback::score
