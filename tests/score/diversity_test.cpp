#include "readback/score/text/diversity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace readback::score {
namespace {

TEST(TextDiversity, CountsDistinctWordsPairsAndTexts) {
  const std::vector<std::string> texts = {"a red fox", "a red fox", "a blue fox"};
  const TextDiversity diversity = text_diversity(texts);
  EXPECT_DOUBLE_EQ(diversity.distinct_1, 4.0 / 9);
  EXPECT_DOUBLE_EQ(diversity.distinct_2, 4.0 / 6);  // a red, red fox, a blue, blue fox
  // Of six bigrams two come twice and two once.
  EXPECT_NEAR(diversity.entropy_2, -2 * (1 / 3.0 * std::log2(1 / 3.0) + 1 / 6.0 * std::log2(1 / 6.0)), 1e-12);
  EXPECT_DOUBLE_EQ(diversity.distinct_texts, 2.0 / 3);
}

TEST(TextDiversity, OfNothingIsZero) {
  EXPECT_EQ(text_diversity({}).distinct_1, 0);
  const std::vector<std::string> one = {"fox"};
  EXPECT_EQ(text_diversity(one).distinct_2, 0);
  EXPECT_EQ(text_diversity(one).entropy_2, 0);
}

}  // namespace
}  // namespace readback::score
