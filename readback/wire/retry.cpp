#include "readback/wire/retry.h"

#include <curl/curl.h>

#include <algorithm>
#include <charconv>
#include <cmath>

namespace readback::wire {

std::optional<Seconds> retry_after(const std::string& header, std::time_t now) {
  double seconds = 0;
  const auto [end, error] = std::from_chars(header.data(), header.data() + header.size(), seconds);
  if (error == std::errc() && end == header.data() + header.size()) {
    if (!(seconds >= 0) || !std::isfinite(seconds)) return std::nullopt;
    return Seconds(seconds);
  }
  const std::time_t date = curl_getdate(header.c_str(), nullptr);
  if (date < 0) return std::nullopt;
  return Seconds(std::max<double>(0, std::difftime(date, now)));
}

bool is_passing(long status) {
  return status == 408 || status == 425 || status == 429 || (status >= 500 && status != 501 && status != 505);
}

Backoff::Backoff(double first) : first_(first), random_(std::random_device()()) {}

Seconds Backoff::delay(int64_t attempt) {
  constexpr double kMost = 60;
  const double whole = std::min(kMost, first_ * std::pow(2.0, static_cast<double>(std::min<int64_t>(attempt, 30))));
  return Seconds(whole * std::uniform_real_distribution<double>(0.5, 1)(random_));
}

Pace::Pace(double per_second)
    : step_(per_second > 0 ? std::chrono::duration_cast<Clock::duration>(Seconds(1 / per_second)) : Clock::duration{}) {
}

void Pace::started(Clock::time_point now) { next_ = std::max(next_, now) + step_; }

void Pace::pause_until(Clock::time_point then) { next_ = std::max(next_, then); }

}  // namespace readback::wire
