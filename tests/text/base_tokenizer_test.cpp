#include "readback/text/base_tokenizer.h"

#include <gtest/gtest.h>

namespace readback::text {
namespace {

TEST(CleanUpSpaces, RemovesSpacesBeforePunctuationAndShortForms) {
  EXPECT_EQ(clean_up_spaces("a , b . c ? d !", false), "a, b. c? d!");
  EXPECT_EQ(clean_up_spaces("i 'm , we 've , they 're , it 's , do n't", false), "i'm, we've, they're, it's, don't");
  EXPECT_EQ(clean_up_spaces("rock ' n", false), "rock'n");
}

TEST(CleanUpSpaces, OnlyTheDecoderJoinsDoNot) {
  EXPECT_EQ(clean_up_spaces("i do not", true), "i don't");
  EXPECT_EQ(clean_up_spaces("i do not", false), "i do not");
}

TEST(CleanUpSpaces, ReplacesEveryOccurrenceOnce) {
  EXPECT_EQ(clean_up_spaces(" . . .", false), "...");
  EXPECT_EQ(clean_up_spaces("nothing", true), "nothing");
}

}  // namespace
}  // namespace readback::text
