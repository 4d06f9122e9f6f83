#include "readback/text/bert_words.h"

#include <gtest/gtest.h>

#include <vector>

namespace readback::text {
namespace {

std::vector<std::u32string> words(std::u32string_view text) {
  std::vector<std::u32string> result;
  for_each_bert_word(text, [&](std::u32string_view word) { result.emplace_back(word); });
  return result;
}

TEST(BertWords, SplitAtSpacesAndIsolatePunctuation) {
  EXPECT_EQ(words(U"don't stop... $5"),
            (std::vector<std::u32string>{U"don", U"'", U"t", U"stop", U".", U".", U".", U"$", U"5"}));
  EXPECT_TRUE(words(U"").empty());
  EXPECT_TRUE(words(U" \u00A0\u3000").empty());
}

TEST(BertNormalize, EachOptionDoesItsPart) {
  const std::u32string text = U"É中\tA\u200B\u0001ñ";
  EXPECT_EQ(bert_normalize(text, {}), U"e 中  an");
  EXPECT_EQ(bert_normalize(text, {.lower_case = false}), U"E 中  An");
  EXPECT_EQ(bert_normalize(text, {.strip_accents = false}), U"é 中  añ");
  EXPECT_EQ(bert_normalize(text, {.isolate_chinese = false}), U"e中 an");
}

}  // namespace
}  // namespace readback::text
