#include "readback/text/byte_pairs.h"

#include <gtest/gtest.h>

#include <set>

#include "readback/text/unicode.h"

namespace readback::text {
namespace {

BytePairs letters() {
  BytePairs pairs;
  for (int64_t byte = 0; byte < 256; ++byte) {
    pairs.inner[static_cast<size_t>(byte)] = byte;
    pairs.last[static_cast<size_t>(byte)] = 256 + byte;
  }
  return pairs;
}

TEST(BytePairs, WithoutMergesAWordIsItsBytes) {
  EXPECT_EQ(letters().apply("ab"), (std::vector<int64_t>{'a', 256 + 'b'}));
  EXPECT_EQ(letters().apply("a"), (std::vector<int64_t>{256 + 'a'}));
  EXPECT_TRUE(letters().apply("").empty());
}

TEST(BytePairs, TheEarlierMergeWinsWhereTwoOverlap) {
  BytePairs pairs = letters();
  pairs.add('b', 'c', 1000);
  pairs.add('a', 'b', 1001);
  EXPECT_EQ(pairs.apply("abcd"), (std::vector<int64_t>{'a', 1000, 256 + 'd'}));
}

TEST(BytePairs, OfEqualPairsTheLeftmostIsMerged) {
  BytePairs pairs = letters();
  pairs.add('a', 'a', 1000);
  EXPECT_EQ(pairs.apply("aaab"), (std::vector<int64_t>{1000, 'a', 256 + 'b'}));
}

TEST(BytePairs, MergedTokensMergeOn) {
  BytePairs pairs = letters();
  pairs.add('o', 256 + 'g', 1000);
  pairs.add('d', 1000, 1001);
  EXPECT_EQ(pairs.apply("dog"), (std::vector<int64_t>{1001}));
  EXPECT_EQ(pairs.apply("dogs"), (std::vector<int64_t>{'d', 'o', 'g', 256 + 's'}));
}

TEST(ByteAlphabet, HasACharacterForEachByte) {
  const auto alphabet = byte_alphabet();
  const std::set<char32_t> distinct(alphabet.begin(), alphabet.end());
  EXPECT_EQ(distinct.size(), 256u);
  EXPECT_EQ(alphabet['A'], U'A');
  EXPECT_EQ(alphabet[' '], U'Ġ');
  EXPECT_EQ(alphabet['\n'], U'Ċ');
  EXPECT_EQ(alphabet[0xE9], U'é');
  for (const char32_t c : alphabet) EXPECT_FALSE(is_whitespace(c));
}

std::vector<std::u32string> words(std::u32string_view text) {
  std::vector<std::u32string> result;
  while (!text.empty()) {
    const size_t size = clip_word_size(text);
    if (size > 0) result.emplace_back(text.substr(0, size));
    text.remove_prefix(std::max<size_t>(size, 1));
  }
  return result;
}

TEST(ClipWords, FollowTheExpression) {
  using Words = std::vector<std::u32string>;
  EXPECT_EQ(words(U"it's 42 dogs!? "), (Words{U"it", U"'s", U"4", U"2", U"dogs", U"!?"}));
  EXPECT_EQ(words(U"'store we'll"), (Words{U"'s", U"tore", U"we", U"'ll"}));
  EXPECT_EQ(words(U"a!'s"), (Words{U"a", U"!'", U"s"}));
  EXPECT_EQ(words(U"<|endoftext|>!<|endoftext|>"), (Words{U"<|endoftext|>", U"!<|", U"endoftext", U"|>"}));
}

TEST(ClipNormalize, ComposesCollapsesAndLowers) {
  EXPECT_EQ(clip_normalize(U"Cafe\u0301 \t\n A\u00A0İ"), U"café a i\u0307");
}

}  // namespace
}  // namespace readback::text
