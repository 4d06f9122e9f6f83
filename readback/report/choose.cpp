#include "readback/report/choose.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace readback::report {

namespace {

// In units of the root mean square, so that gains and spreads can be added.
std::vector<double> scaled(std::vector<double> values) {
  double squares = 0;
  for (double value : values) squares += value * value;
  const double size = std::sqrt(squares / static_cast<double>(values.size()));
  for (double& value : values) value = size > 0 ? value / size : 0;
  return values;
}

}  // namespace

std::vector<Choice> choose(const std::vector<double>& gains, const std::vector<double>& spreads, size_t limit) {
  const size_t n = gains.size();
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  std::vector<Choice> chosen;
  if (n <= limit) {
    for (size_t i : order) chosen.push_back({i, Reason::kAll});
    return chosen;
  }
  const std::vector<double> gain = scaled(gains), spread = scaled(spreads);
  std::vector<bool> taken(n);
  const auto take = [&](size_t count, Reason reason, const auto& wanted) {
    for (size_t i : order) {
      if (count == 0) break;
      if (taken[i] || !wanted(i)) continue;
      taken[i] = true;
      chosen.push_back({i, reason});
      --count;
    }
  };
  std::ranges::stable_sort(order, std::greater{}, [&](size_t i) { return gain[i] + spread[i]; });
  take(limit / 3, Reason::kTelling, [&](size_t i) { return gain[i] > 0; });
  std::ranges::stable_sort(order, std::greater{}, [&](size_t i) { return spread[i] - 2 * gain[i]; });
  take(limit / 6, Reason::kAgainst, [&](size_t i) { return gain[i] < 0; });

  std::vector<size_t> rest;
  for (size_t i = 0; i < n; ++i) {
    if (!taken[i]) rest.push_back(i);
  }
  const size_t count = std::min(limit - chosen.size(), rest.size());
  for (size_t k = 0; k < count; ++k) chosen.push_back({rest[(2 * k + 1) * rest.size() / (2 * count)], Reason::kEven});
  return chosen;
}

}  // namespace readback::report
