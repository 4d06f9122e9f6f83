#include "readback/base/options.h"

#include <fmt/format.h>

#include <cmath>

namespace readback {

bool Range::contains(double number) const {
  return std::isfinite(number) && (above_least ? number > least : number >= least) &&
         (below_most ? number < most : number <= most);
}

std::string to_string(const Range& range) {
  const bool bottom = std::isfinite(range.least), top = std::isfinite(range.most);
  if (bottom && top && !range.above_least && !range.below_most) {
    return fmt::format("{} to {}", range.least, range.most);
  }
  const std::string lower =
      range.above_least ? fmt::format("more than {}", range.least) : fmt::format("{} or more", range.least);
  const std::string upper =
      range.below_most ? fmt::format("below {}", range.most) : fmt::format("at most {}", range.most);
  if (bottom && top) return lower + ", " + upper;
  if (bottom) return lower;
  return top ? upper : "a finite number";
}

void expect_in(const Range& range, const std::string& name, double number) {
  if (!range.contains(number)) throw UsageError(describe(name, to_string(range), fmt::format("{}", number)));
}

}  // namespace readback
