#include "readback/base/progress.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "readback/base/error.h"

namespace readback {
namespace {

// One test, since the flag is set once in a process and never cleared.
// In a child: a request is never taken back, and the tests that share this process are not to be interrupted.
TEST(Interrupt, EndsWorkOnlyAfterTheRequest) {
  const auto work = [] {
    if (interrupt_requested()) std::exit(1);
    check_interrupt();
    request_interrupt();
    if (!interrupt_requested()) std::exit(2);
    try {
      check_interrupt();
    } catch (const Interrupted&) {
      std::exit(0);
    }
    std::exit(3);
  };
  EXPECT_EXIT(work(), testing::ExitedWithCode(0), "");
  EXPECT_FALSE(interrupt_requested());
}

}  // namespace
}  // namespace readback
