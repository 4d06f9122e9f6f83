#include "readback/base/progress.h"

#include <gtest/gtest.h>

#include "readback/base/error.h"

namespace readback {
namespace {

// One test, since the flag is set once in a process and never cleared.
TEST(Interrupt, EndsWorkOnlyAfterTheRequest) {
  ASSERT_FALSE(interrupt_requested());
  EXPECT_NO_THROW(check_interrupt());
  request_interrupt();
  EXPECT_TRUE(interrupt_requested());
  EXPECT_THROW(check_interrupt(), Interrupted);
}

}  // namespace
}  // namespace readback
