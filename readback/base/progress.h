// How long work reports where it is. The library calls, cli/ draws.
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

}  // namespace readback
