// Which samples to show of many.
#pragma once
#include <cstdint>
#include <vector>

#include "readback/report/report.h"

namespace readback::report {

struct Choice {
  size_t index = 0;
  Reason reason = Reason::kAll;
};

// gain: how much better the middle of the nearest trip is than that of the farthest; spread: how much farther the
// farthest came back. All of them, in order, when there are no more than `limit`. Else a third that tells most (both
// large), a sixth that speaks against the rule (the largest losses, where there are any), and the rest drawn evenly.
std::vector<Choice> choose(const std::vector<double>& gains, const std::vector<double>& spreads, size_t limit);

}  // namespace readback::report
