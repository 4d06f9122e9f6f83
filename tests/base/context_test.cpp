#include "readback/base/context.h"

#include <gtest/gtest.h>

#include "readback/base/error.h"

namespace readback {
namespace {

TEST(Context, StopsItsOwnCallsOnly) {
  std::stop_source one, other;
  const Context first(one.get_token()), second(other.get_token()), copy = first;
  EXPECT_NO_THROW(first.check());
  one.request_stop();
  EXPECT_THROW(first.check(), Interrupted);
  EXPECT_THROW(copy.check(), Interrupted);
  EXPECT_TRUE(copy.stopped());
  EXPECT_NO_THROW(second.check());
  EXPECT_NO_THROW(Context().check());
}

TEST(Context, TellsNobodyUnlessSomebodyListens) {
  struct Bar : Progress {
    void note(const std::string& message) override { last = message; }
    std::string last;
  } bar;
  Observer observer;
  EXPECT_NO_THROW(Context().progress().note("unheard"));
  EXPECT_EQ(Context().observer(), nullptr);
  const Context context({}, &bar, &observer);
  context.progress().note("heard");
  EXPECT_EQ(bar.last, "heard");
  EXPECT_EQ(context.observer(), &observer);
}

}  // namespace
}  // namespace readback
