// When a request is sent again.
#pragma once
#include <chrono>
#include <optional>
#include <random>
#include <string>

namespace readback::wire {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

// What a Retry-After header asks for: seconds ("120") or a date of HTTP. None for what is neither; 0 for the past.
std::optional<Seconds> retry_after(const std::string& header, std::time_t now = std::time(nullptr));

// Whether a status may be another one when the same is asked again: 408, 425, 429 and 5xx but for 501 and 505.
bool is_passing(long status);

// `first` seconds, twice as many each time, a minute at most; of that a random part between a half and all, so that
// clients which failed together do not come back together.
class Backoff {
 public:
  explicit Backoff(double first);
  Seconds delay(int64_t attempt);  // 0: before the first repetition

 private:
  double first_;
  std::minstd_rand random_;
};

// At most so many starts a second; 0: no limit.
class Pace {
 public:
  explicit Pace(double per_second);
  Clock::time_point next() const { return next_; }  // when the next may start
  void started(Clock::time_point now);
  void pause_until(Clock::time_point then);  // what a server asked for

 private:
  Clock::duration step_;
  Clock::time_point next_ = Clock::time_point::min();
};

}  // namespace readback::wire
