#include "readback/base/error.h"

#include <gtest/gtest.h>

namespace readback {
namespace {

TEST(Describe, SaysWhereExpectedGotAndNext) {
  EXPECT_EQ(describe("a.png", "an image", "text", "Check the file"),
            "a.png: expected an image, got text. Check the file");
}

TEST(Describe, LeavesOutWhatIsEmpty) {
  EXPECT_EQ(describe("a.png", "an image", "text"), "a.png: expected an image, got text");
  EXPECT_EQ(describe("a.png", "an image", ""), "a.png: expected an image");
  EXPECT_EQ(describe("a.png", "", "text"), "a.png: text");
  EXPECT_EQ(describe("a.png", "", "", "Check the file"), "a.png. Check the file");
}

TEST(Errors, ShareOneBaseButStayApart) {
  EXPECT_THROW(throw CheckpointError("x"), Error);
  EXPECT_THROW(throw UsageError("x"), std::runtime_error);
  EXPECT_FALSE((std::is_base_of_v<CheckpointError, UsageError>));
}

}  // namespace
}  // namespace readback
