#include "readback/text/added_tokens.h"

#include <gtest/gtest.h>

#include "readback/text/unicode.h"

namespace readback::text {
namespace {

std::u32string lowered(std::u32string_view text) { return lower(text); }

// Pieces as "text" or "#id".
std::vector<std::string> split(const std::vector<AddedToken>& tokens, std::u32string_view text,
                               bool split_special_tokens = false) {
  const AddedTokens added(tokens, {{"known", 7}, {"other", 1}}, lowered, split_special_tokens);
  std::vector<std::string> result;
  for (const auto& piece : added.split(text, lowered)) {
    result.push_back(piece.id >= 0 ? "#" + std::to_string(piece.id) : encode_utf8(piece.text));
  }
  return result;
}

using Pieces = std::vector<std::string>;

TEST(AddedTokens, KeepTheVocabularysIdsAndContinueBehindIt) {
  EXPECT_EQ(split({{.content = "known"}, {.content = "new"}, {.content = "newer"}}, U"known new newer"),
            (Pieces{"#7", " ", "#2", " ", "#3"}));
}

TEST(AddedTokens, NormalizedOnesMatchTheNormalizedText) {
  EXPECT_EQ(split({{.content = "DOG"}}, U"a Dog dog"), (Pieces{"a ", "#2", " ", "#2"}));
  EXPECT_EQ(split({{.content = "DOG", .normalized = false}}, U"a Dog DOG"), (Pieces{"a dog ", "#2"}));
}

TEST(AddedTokens, TheLongestOfTheLeftmostMatches) {
  EXPECT_EQ(split({{.content = "ab"}, {.content = "abc"}, {.content = "bcd"}}, U"xabcd"), (Pieces{"x", "#3", "d"}));
}

TEST(AddedTokens, TakeWhiteSpaceAsAskedFor) {
  EXPECT_EQ(split({{.content = "x", .lstrip = true}}, U"a  x  b"), (Pieces{"a", "#2", "  b"}));
  EXPECT_EQ(split({{.content = "x", .rstrip = true}}, U"a  x  b"), (Pieces{"a  ", "#2", "b"}));
  EXPECT_EQ(split({{.content = "x", .lstrip = true, .rstrip = true}}, U" x x "), (Pieces{"#2", "#2"}));
}

TEST(AddedTokens, SingleWordsStandAlone) {
  EXPECT_EQ(split({{.content = "cat", .single_word = true}}, U"cat cats concat-cat"),
            (Pieces{"#2", " cats concat-", "#2"}));
}

TEST(AddedTokens, SpecialOnesCanBeLeftToTheModel) {
  const std::vector<AddedToken> tokens = {{.content = "[x]", .special = true}, {.content = "[y]"}};
  EXPECT_EQ(split(tokens, U"[x][y]"), (Pieces{"#2", "#3"}));
  EXPECT_EQ(split(tokens, U"[x][y]", true), (Pieces{"[x]", "#3"}));
}

TEST(AddedTokens, EmptyOnesCountForNothing) {
  EXPECT_EQ(split({{.content = ""}, {.content = "x"}}, U"ax"), (Pieces{"a", "#2"}));
  EXPECT_TRUE(split({{.content = "x"}}, U"").empty());
}

TEST(AddedTokens, DecodeAsTheyWereLookedFor) {
  const AddedTokens added(
      {{.content = "DOG", .special = true}, {.content = "CAT", .normalized = false, .special = true}}, {}, lowered,
      false);
  EXPECT_EQ(*added.decoded(0), "dog");
  EXPECT_EQ(*added.decoded(1), "CAT");
  EXPECT_EQ(added.decoded(2), nullptr);
  EXPECT_TRUE(added.is_special("CAT"));
  EXPECT_FALSE(added.is_special("dog"));
}

}  // namespace
}  // namespace readback::text
