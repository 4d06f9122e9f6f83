#include "readback/base/options.h"

#include <fmt/format.h>

namespace readback {

std::string to_string(const Range& range) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const bool below = range.most < kInfinity, above = range.least > -kInfinity;
  if (range.open) {
    return below ? fmt::format("more than {} and at most {}", range.least, range.most)
                 : fmt::format("more than {}", range.least);
  }
  if (above && below) return fmt::format("{} to {}", range.least, range.most);
  if (above) return fmt::format("{} or more", range.least);
  return below ? fmt::format("at most {}", range.most) : "a finite number";
}

void reject_number(const std::string& name, const Range& range, double number) {
  throw UsageError(describe(name, to_string(range), fmt::format("{}", number)));
}

}  // namespace readback
