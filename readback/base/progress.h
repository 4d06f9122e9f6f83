// How long work reports where it is and learns that it should stop. The library calls; cli/ draws and handles signals.
#pragma once
#include <cstdint>
#include <string>

namespace readback {

class Progress {
 public:
  virtual ~Progress() = default;
  virtual void begin(const std::string& /*label*/, int64_t /*total*/) {}          // a new stage of `total` units
  virtual void advance(int64_t /*units*/, const std::string& /*status*/ = "") {}  // `status`: e.g. "loss 0.031"
  virtual void end() {}
  virtual void note(const std::string& /*message*/) {}              // a line for the log
  virtual void warn(const std::string& message) { note(message); }  // one that any of several ranks may have
};

// Set by the first Ctrl-C. Long loops call check_interrupt() between units of work: it throws Interrupted when set.
void request_interrupt() noexcept;  // async-signal-safe
bool interrupt_requested() noexcept;
void check_interrupt();

}  // namespace readback
