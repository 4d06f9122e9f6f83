#include "readback/base/halving.h"

#include <gtest/gtest.h>

#include <new>
#include <stdexcept>
#include <utility>
#include <vector>

#include "readback/base/error.h"

namespace readback {
namespace {

using Parts = std::vector<std::pair<int64_t, int64_t>>;

// The parts that went well where there is room for so many at once.
Parts parts(int64_t count, int64_t most, int64_t room, const Context& context = {}) {
  Parts result;
  in_parts_that_fit(
      count, most,
      [&](int64_t begin, int64_t end) {
        if (end - begin > room) throw OutOfMemory("no room");
        result.emplace_back(begin, end);
      },
      context);
  return result;
}

TEST(Halving, CutsIntoPartsOfTheSizeAskedFor) {
  EXPECT_EQ(parts(7, 3, 100), (Parts{{0, 3}, {3, 6}, {6, 7}}));
  EXPECT_EQ(parts(3, 100, 100), (Parts{{0, 3}}));
  EXPECT_EQ(parts(0, 3, 0), Parts());
}

TEST(Halving, TriesLessUntilItFitsAndStaysThere) {
  EXPECT_EQ(parts(7, 8, 2), (Parts{{0, 1}, {1, 2}, {2, 3}, {3, 4}, {4, 5}, {5, 6}, {6, 7}}));  // 7, 3, 1
  EXPECT_EQ(parts(7, 4, 2), (Parts{{0, 2}, {2, 4}, {4, 6}, {6, 7}}));
  EXPECT_THROW(parts(7, 4, 0), OutOfMemory);
}

TEST(Halving, SaysSo) {
  struct Notes : Progress {
    void note(const std::string& message) override { messages.push_back(message); }
    std::vector<std::string> messages;
  } notes;
  parts(9, 9, 2, Context(notes));
  EXPECT_EQ(notes.messages,
            (std::vector<std::string>{"no room\nGoing on with 4 at once", "no room\nGoing on with 2 at once"}));
}

TEST(Halving, KnowsWhatTheAllocatorThrowsAndPassesOnTheRest) {
  std::vector<int64_t> sizes;
  in_parts_that_fit(4, 4, [&](int64_t begin, int64_t end) {
    if (end - begin > 2) throw std::bad_alloc();
    sizes.push_back(end - begin);
  });
  EXPECT_EQ(sizes, (std::vector<int64_t>{2, 2}));
  int calls = 0;
  const auto fails = [&](int64_t, int64_t) {
    ++calls;
    throw std::out_of_range("a fault of our own");
  };
  EXPECT_THROW(in_parts_that_fit(4, 4, fails), std::out_of_range);
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace readback
