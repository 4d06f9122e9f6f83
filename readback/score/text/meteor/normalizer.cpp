#include "readback/score/text/meteor/normalizer.h"

#include <algorithm>
#include <utility>

#include "readback/text/unicode.h"

namespace readback::score {

namespace {

using Text = std::u32string;
using View = std::u32string_view;

// Stands for each dot of a run of dots, which no rule after the first may touch.
constexpr char32_t kRunDot = 0x110000;
constexpr View kBlanks = U" \t\n\r\f";
constexpr View kUnicodeBlanks =
    U"\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000";

bool is_one_of(char32_t c, View set) { return set.find(c) != View::npos; }
bool is_digit(char32_t c) { return c >= U'0' && c <= U'9'; }
bool is_lower(char32_t c) { return c >= U'a' && c <= U'z'; }

// Western European and Cyrillic letters.
bool is_alpha(char32_t c) {
  if (c < 0x80) return is_lower(c) || (c >= U'A' && c <= U'Z');
  constexpr std::pair<char32_t, char32_t> kRanges[] = {{0xc0, 0xd6},     {0xd8, 0xf6},     {0xf8, 0x17e},
                                                       {0x400, 0x527},   {0xa640, 0xa66e}, {0xa67e, 0xa697},
                                                       {0x1d00, 0x1d7f}, {0x160, 0x161},   {0x178, 0x178}};
  return std::any_of(std::begin(kRanges), std::end(kRanges),
                     [c](const auto& range) { return c >= range.first && c <= range.second; });
}
bool is_alnum(char32_t c) { return is_digit(c) || is_alpha(c); }

Text separate_symbols(View text) {
  Text result;
  for (const char32_t c : text) {
    if (is_alnum(c) || is_one_of(c, U" \t\n\v\f\r.'`,-\u2018\u2019")) {
      result += c;
    } else {
      result += {U' ', c, U' '};
    }
  }
  return result;
}

Text separate_runs_of_dots(View text) {
  Text result;
  for (size_t i = 0; i < text.size();) {
    const size_t count = std::min(text.find_first_not_of(U'.', i), text.size()) - i;
    if (count < 2) {
      result += text[i++];
      continue;
    }
    result += U' ' + Text(count, kRunDot) + U' ';
    i += count;
  }
  return result;
}

// Every `old`, from left to right.
Text replace_all(View text, View old, View replacement) {
  Text result;
  size_t begin = 0;
  for (size_t at = text.find(old); at != View::npos; at = text.find(old, begin)) {
    result.append(text.substr(begin, at - begin)).append(replacement);
    begin = at + old.size();
  }
  return result.append(text.substr(begin));
}

// Replaces `mark` between two characters of the given kinds. As in a regular expression, the character on the right
// belongs to the match and cannot be the left one of the next.
template <class Left, class Right>
void replace_between(Text& text, char32_t mark, View replacement, Left left, Right right) {
  Text result;
  size_t begin = 0;
  for (size_t at = text.find(mark, 1); at != Text::npos && at + 1 < text.size(); at = text.find(mark, at + 1)) {
    if (at <= begin || !left(text[at - 1]) || !right(text[at + 1])) continue;
    result.append(text, begin, at - begin).append(replacement).append(1, text[at + 1]);
    begin = at + 2;
  }
  if (begin == 0) return;
  text = std::move(result.append(text, begin));
}

constexpr auto kNot = [](auto kind) { return [kind](char32_t c) { return !kind(c); }; };

void separate_commas(Text& text) {
  replace_between(text, U',', U" , ", kNot(is_digit), kNot(is_digit));
  replace_between(text, U',', U" , ", is_digit, kNot(is_digit));
  replace_between(text, U',', U" , ", kNot(is_digit), is_digit);
}

void split_contractions(Text& text) {
  replace_between(text, U'\'', U" ' ", kNot(is_alpha), kNot(is_alpha));
  replace_between(text, U'\'', U" ' ", kNot(is_alnum), is_alpha);
  replace_between(text, U'\'', U" ' ", is_alpha, kNot(is_alpha));
  replace_between(text, U'\'', U" '", is_alpha, is_alpha);
  replace_between(text, U'\'', U" '", is_digit, [](char32_t c) { return c == U's'; });
}

std::vector<Text> split(View text) {
  std::vector<Text> words;
  for (size_t begin = text.find_first_not_of(kBlanks); begin != View::npos;) {
    const size_t end = std::min(text.find_first_of(kBlanks, begin), text.size());
    words.emplace_back(text.substr(begin, end - begin));
    begin = text.find_first_not_of(kBlanks, end);
  }
  return words;
}

// The dot at the end of a word stays with abbreviations, goes from "U.S." and is a word of its own otherwise.
void append_word(Text& line, const Text& word, const Text* next, const MeteorTables& tables) {
  if (word.size() < 2 || word.back() != U'.') {
    line += word;
    return;
  }
  const Text stem = word.substr(0, word.size() - 1);
  if (stem.find(U'.') != Text::npos && std::any_of(stem.begin(), stem.end(), is_alpha)) {
    line += replace_all(word, U".", U"");
    return;
  }
  const uint32_t number = tables.find(text::encode_utf8(stem));
  const bool kept = tables.has_flag(number, meteor_format::kPrefix) || (next && is_lower(next->front())) ||
                    (tables.has_flag(number, meteor_format::kNumericPrefix) && next && is_digit(next->front()));
  line += kept ? word : stem + U" .";
}

std::vector<std::string> plain_words(std::string_view text) {
  std::vector<std::string> words;
  for (size_t begin = text.find_first_not_of(' '); begin != std::string_view::npos;) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    words.emplace_back(text.substr(begin, end - begin));
    begin = text.find_first_not_of(' ', end);
  }
  return words;
}

}  // namespace

std::vector<std::string> meteor_words(std::string_view utf8, const MeteorTables& tables) {
  // No rule touches such text, and most captions are such.
  const auto is_plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == ' '; };
  if (std::all_of(utf8.begin(), utf8.end(), is_plain)) return plain_words(utf8);

  Text text = U' ' + text::decode_utf8(utf8) + U' ';
  text = separate_runs_of_dots(separate_symbols(text));
  separate_commas(text);
  for (char32_t& c : text) {
    if (is_one_of(c, U"`\u2018\u2019")) c = U'\'';
  }
  for (const View quote : {View(U"\u201c"), View(U"\u201d"), View(U"''")}) text = replace_all(text, quote, U" \" ");
  text = replace_all(replace_all(text, U"\u2013", U"-"), U"--", U"-");
  replace_between(
      text, U'-', U" ", [](char32_t c) { return is_alnum(c) || c == U'.'; }, is_alnum);
  split_contractions(text);

  const std::vector<Text> words = split(text);
  Text line;
  for (size_t i = 0; i < words.size(); ++i) {
    append_word(line, words[i], i + 1 < words.size() ? &words[i + 1] : nullptr, tables);
    line += U' ';
  }
  for (char32_t& c : line) {
    if (c == kRunDot) c = U'.';
    if (is_one_of(c, kUnicodeBlanks)) c = U' ';
  }
  const auto is_visible = [](char32_t c) { return c > U' '; };  // Java trims control characters with the blanks
  line.erase(std::find_if(line.rbegin(), line.rend(), is_visible).base(), line.end());
  line.erase(line.begin(), std::find_if(line.begin(), line.end(), is_visible));
  std::vector<std::string> result;
  for (const Text& word : split(text::lower(line))) result.push_back(text::encode_utf8(word));
  return result;
}

}  // namespace readback::score
