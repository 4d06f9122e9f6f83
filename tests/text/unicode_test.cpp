#include "readback/text/unicode.h"

#include <gtest/gtest.h>
#include <unicode/uchar.h>

#include "tests/text/goldens.h"

namespace readback::text {
namespace {

using testing::Digest;
using testing::golden;
using testing::Json;

constexpr char32_t kEnd = 0x110000;

bool is_surrogate(char32_t c) { return c >= 0xD800 && c < 0xE000; }

// Every code point, against the ranges of the golden; each wrong one is named.
template <typename Predicate>
void expect_ranges(const Json& ranges, Predicate predicate) {
  std::vector<bool> expected(kEnd, false);
  for (const Json& range : ranges) {
    for (auto c = range[0].get<char32_t>(); c <= range[1].get<char32_t>(); ++c) expected[c] = true;
  }
  std::string wrong;
  for (char32_t c = 0; c < kEnd; ++c) {
    char name[16];
    std::snprintf(name, sizeof name, " U+%04X", static_cast<unsigned>(c));
    if (!is_surrogate(c) && predicate(c) != expected[c] && wrong.size() < 200) wrong += name;
  }
  EXPECT_EQ(wrong, "");
}

template <typename Function>
void expect_blocks(const Json& blocks, Function function) {
  size_t changed = 0;
  for (char32_t first = 0; first < kEnd; first += 256) {
    Digest digest;
    bool changes = false;
    for (char32_t c = first; c < first + 256; ++c) {
      if (is_surrogate(c)) continue;
      const std::u32string mapped = function(std::u32string(1, c));
      changes = changes || mapped != std::u32string(1, c);
      digest.add(mapped);
    }
    const std::string key = std::to_string(static_cast<uint32_t>(first));
    EXPECT_EQ(changes, blocks.contains(key)) << "block " << std::hex << static_cast<uint32_t>(first);
    if (!changes || !blocks.contains(key)) continue;
    ++changed;
    EXPECT_EQ(digest.hex(), blocks[key]) << "block " << std::hex << static_cast<uint32_t>(first);
  }
  EXPECT_EQ(changed, blocks.size());
}

TEST(Unicode, PredicatesAreTheTokenizersLibrarysForEveryCodePoint) {
  const Json expected = golden("unicode.json");
  {
    SCOPED_TRACE("bert removes");
    expect_ranges(expected["bert removes"], [](char32_t c) {
      return c == 0 || c == 0xFFFD || (is_other(c) && c != '\t' && c != '\n' && c != '\r');
    });
  }
  {
    SCOPED_TRACE("white space");
    expect_ranges(expected["white space"], is_whitespace);
  }
  {
    SCOPED_TRACE("bert punctuation");
    expect_ranges(expected["bert punctuation"], is_bert_punctuation);
  }
  {
    SCOPED_TRACE("nonspacing marks");
    expect_ranges(expected["nonspacing marks"], is_nonspacing_mark);
  }
  {
    SCOPED_TRACE("chinese");
    expect_ranges(expected["chinese"], is_chinese);
  }
  {
    SCOPED_TRACE("letters");
    expect_ranges(expected["letters"], is_letter);
  }
  {
    SCOPED_TRACE("numbers");
    expect_ranges(expected["numbers"], is_number);
  }
  {
    SCOPED_TRACE("numeric");
    expect_ranges(expected["numeric"], is_numeric);
  }
}

TEST(Unicode, LowerCaseIsTheTokenizersLibrarysForEveryCodePoint) {
  expect_blocks(golden("unicode.json")["lower"], [](const std::u32string& text) { return lower(text); });
}

TEST(Unicode, NormalisationIsTheTokenizersLibrarysForEveryCodePoint) {
  const Json expected = golden("unicode.json");
  expect_blocks(expected["nfc"], to_nfc);
  expect_blocks(expected["nfd"], to_nfd);
}

TEST(Unicode, MarksAreReorderedAsInTheTokenizersLibrary) {
  const Json expected = golden("unicode.json");
  Digest nfc, nfd;
  for (const Json& range : expected["marks"]) {
    for (auto mark = range[0].get<char32_t>(); mark <= range[1].get<char32_t>(); ++mark) {
      for (const char32_t other : {0x301, 0x316, 0x334}) {
        for (const std::u32string& text : {std::u32string{U'a', mark, other}, std::u32string{U'a', other, mark}}) {
          nfc.add(to_nfc(text));
          nfd.add(to_nfd(text));
        }
      }
    }
  }
  EXPECT_EQ(nfc.hex(), expected["marks nfc"]);
  EXPECT_EQ(nfd.hex(), expected["marks nfd"]);
}

TEST(Unicode, IllFormedTextBecomesReplacementCharactersAsInPython) {
  const Json cases = golden("cases.json");
  for (const Json& entry : cases["invalid"]) {
    const std::string hex = entry[0];
    std::string bytes;
    for (size_t i = 0; i < hex.size(); i += 2)
      bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    EXPECT_EQ(encode_utf8(decode_utf8(bytes)), entry[1].get<std::string>()) << hex;
  }
}

TEST(Unicode, EveryCharacterSurvivesEncodingAndDecoding) {
  std::u32string all;
  for (char32_t c = 0; c < kEnd; ++c) {
    if (!is_surrogate(c)) all.push_back(c);
  }
  EXPECT_EQ(decode_utf8(encode_utf8(all)), all);
}

TEST(Unicode, WordCharacters) {
  for (const char32_t c : {U'a', U'Z', U'0', U'_', U'é', U'中', U'\u0301', U'\u200D', U'Ⅻ'}) EXPECT_TRUE(is_word(c));
  for (const char32_t c : {U' ', U'-', U'.', U'½', U'😀', U'\u00A0', U'\u200B'}) EXPECT_FALSE(is_word(c));
}

}  // namespace
}  // namespace readback::text
