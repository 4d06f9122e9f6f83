#include "readback/base/progress.h"

#include <atomic>

#include "readback/base/error.h"

namespace readback {

namespace {
std::atomic<bool> interrupt_flag{false};
static_assert(std::atomic<bool>::is_always_lock_free);
}  // namespace

void request_interrupt() noexcept { interrupt_flag.store(true); }
bool interrupt_requested() noexcept { return interrupt_flag.load(); }
void check_interrupt() {
  if (interrupt_requested()) throw Interrupted("interrupted");
}

}  // namespace readback
