#include "readback/wire/retry.h"

#include <gtest/gtest.h>

namespace readback::wire {
namespace {

TEST(Retry, AServerAsksInSecondsOrByADate) {
  EXPECT_EQ(retry_after("120")->count(), 120);
  EXPECT_EQ(retry_after("0")->count(), 0);
  EXPECT_EQ(retry_after("1.5")->count(), 1.5);
  const std::time_t noon = 784111777;  // Sun, 06 Nov 1994 08:49:37 GMT
  EXPECT_EQ(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", noon - 30)->count(), 30);
  EXPECT_EQ(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", noon + 30)->count(), 0);
  for (const char* other : {"", "soon", "-3", "inf", "nan"}) EXPECT_FALSE(retry_after(other)) << other;
}

TEST(Retry, DelaysDoubleUpToAMinuteAndAreSpread) {
  Backoff backoff(0.5);
  double least = 1e9, most = 0;
  for (int i = 0; i < 200; ++i) {
    for (const auto& [attempt, whole] : {std::pair<int64_t, double>{0, 0.5}, {1, 1}, {3, 4}, {7, 60}, {1000, 60}}) {
      const double delay = backoff.delay(attempt).count();
      EXPECT_GE(delay, whole / 2);
      EXPECT_LE(delay, whole);
      if (attempt == 3) least = std::min(least, delay), most = std::max(most, delay);
    }
  }
  EXPECT_LT(least, 2.5);
  EXPECT_GT(most, 3.5);
}

TEST(Retry, KnowsWhichFailuresPass) {
  for (const long status : {408L, 425L, 429L, 500L, 502L, 503L, 504L, 529L}) EXPECT_TRUE(is_passing(status)) << status;
  for (const long status : {400L, 401L, 403L, 404L, 422L, 501L, 505L}) EXPECT_FALSE(is_passing(status)) << status;
}

TEST(Retry, APaceSpreadsStarts) {
  Pace pace(4);
  const Clock::time_point now = Clock::now();
  pace.started(now);
  EXPECT_EQ(pace.next(), now + std::chrono::milliseconds(250));
  pace.started(now);
  EXPECT_EQ(pace.next(), now + std::chrono::milliseconds(500));
  pace.pause_until(now + std::chrono::seconds(9));
  EXPECT_EQ(pace.next(), now + std::chrono::seconds(9));
  Pace free(0);
  free.started(now);
  EXPECT_LE(free.next(), now);
}

}  // namespace
}  // namespace readback::wire
