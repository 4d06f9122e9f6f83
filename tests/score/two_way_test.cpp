#include "readback/score/statistics/two_way.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "readback/base/error.h"

namespace readback::score {
namespace {

TEST(TwoWay, RowsAndColumnsThatAddUpLeaveNothing) {
  // Row effects ±1 and column effects ±3, 0: sums of squares 6 and 36 of 42.
  const TwoWay shares = two_way(std::vector<double>{-4, -1, 2, -2, 1, 4}, 2, 3);
  EXPECT_NEAR(shares.rows, 6.0 / 42, 1e-12);
  EXPECT_NEAR(shares.columns, 36.0 / 42, 1e-12);
  EXPECT_NEAR(shares.interaction, 0, 1e-12);
}

TEST(TwoWay, WhatNeitherExplainsIsInteraction) {
  const TwoWay crossed = two_way(std::vector<double>{1, -1, -1, 1}, 2, 2);
  EXPECT_EQ(crossed.rows, 0);
  EXPECT_EQ(crossed.columns, 0);
  EXPECT_EQ(crossed.interaction, 1);
}

TEST(TwoWay, NothingToShareIsNotANumber) {
  EXPECT_TRUE(std::isnan(two_way(std::vector<double>{2, 2}, 1, 2).rows));
  EXPECT_TRUE(std::isnan(two_way(std::vector<double>{2, NAN}, 1, 2).columns));
  EXPECT_EQ(two_way(std::vector<double>{1, 2}, 1, 2).columns, 1);
  EXPECT_THROW(two_way(std::vector<double>{1, 2}, 2, 2), DataError);
}

}  // namespace
}  // namespace readback::score
