#include "readback/score/statistics/correlation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "readback/base/error.h"

namespace readback::score {

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Values by their place in the order: equal values have the same level, counted from 0.
struct Levels {
  std::vector<uint32_t> order;  // rows, sorted by value
  std::vector<uint32_t> of_row;
  size_t count = 0;

  explicit Levels(std::span<const double> values) : order(values.size()), of_row(values.size()) {
    std::iota(order.begin(), order.end(), uint32_t{0});
    std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return values[a] < values[b]; });
    for (size_t i = 0; i < order.size(); ++i) {
      count += i == 0 || values[order[i]] != values[order[i - 1]];
      of_row[order[i]] = static_cast<uint32_t>(count - 1);
    }
  }
};

// Counts by level, and how many lie below a level, in logarithmic time each (Fenwick 1994).
class LevelCounts {
 public:
  explicit LevelCounts(size_t levels) : sums_(levels + 1, 0) {}
  void add(size_t level, int64_t count) {
    for (size_t i = level + 1; i < sums_.size(); i += i & (0 - i)) sums_[i] += count;
  }
  int64_t below(size_t level) const {
    int64_t sum = 0;
    for (size_t i = level; i > 0; i &= i - 1) sum += sums_[i];
    return sum;
  }

 private:
  std::vector<int64_t> sums_;
};

// Rows with multiplicities, sorted once for all the resamples that only change the multiplicities.
class RankedPairs {
 public:
  RankedPairs(std::span<const double> x, std::span<const double> y) : x_(x), y_(y), rows_x_(x), rows_y_(y) {}

  double pearson(std::span<const int64_t> times) const {
    // Of a constant, rounding may leave the mean off and a variance above 0.
    return is_constant(rows_x_, times) || is_constant(rows_y_, times) ? kNan : weighted_pearson(x_, y_, times);
  }

  double spearman(std::span<const int64_t> times) const {
    return weighted_pearson(average_ranks(rows_x_, times), average_ranks(rows_y_, times), times);
  }

  struct Kendall {
    double tau_b = kNan, tau_c = kNan;
  };
  Kendall kendall(std::span<const int64_t> times) const {
    // Rows in the order of x, those of equal x together: a pair is concordant when the earlier one has the lower y.
    LevelCounts before(rows_y_.count);
    std::vector<int64_t> of_y(rows_y_.count, 0);
    int64_t rows = 0, surplus = 0, tied_x = 0, levels_x = 0;
    for (size_t begin = 0; begin < rows_x_.order.size();) {
      size_t end = begin;
      const uint32_t level = rows_x_.of_row[rows_x_.order[begin]];
      int64_t in_level = 0;
      for (; end < rows_x_.order.size() && rows_x_.of_row[rows_x_.order[end]] == level; ++end) {
        const uint32_t row = rows_x_.order[end];
        if (times[row] == 0) continue;
        const uint32_t y = rows_y_.of_row[row];
        surplus += times[row] * (before.below(y) - (rows - before.below(y + 1)));
        in_level += times[row];
      }
      for (; begin < end; ++begin) {
        const uint32_t row = rows_x_.order[begin];
        if (times[row] == 0) continue;
        before.add(rows_y_.of_row[row], times[row]);
        of_y[rows_y_.of_row[row]] += times[row];
      }
      rows += in_level;
      tied_x += pairs(in_level);
      levels_x += in_level > 0;
    }
    int64_t tied_y = 0, levels_y = 0;
    for (const int64_t in_level : of_y) {
      tied_y += pairs(in_level);
      levels_y += in_level > 0;
    }
    const double levels = static_cast<double>(std::min(levels_x, levels_y)), n = static_cast<double>(rows);
    if (levels < 2) return {};
    return {static_cast<double>(surplus) / std::sqrt(static_cast<double>(pairs(rows) - tied_x)) /
                std::sqrt(static_cast<double>(pairs(rows) - tied_y)),
            2.0 * static_cast<double>(surplus) / (n * n * (levels - 1) / levels)};
  }

 private:
  static int64_t pairs(int64_t n) { return n * (n - 1) / 2; }

  static bool is_constant(const Levels& rows, std::span<const int64_t> times) {
    int64_t level = -1;
    for (size_t i = 0; i < times.size(); ++i) {
      if (times[i] == 0) continue;
      if (level >= 0 && level != rows.of_row[i]) return false;
      level = rows.of_row[i];
    }
    return true;
  }

  static std::vector<double> average_ranks(const Levels& rows, std::span<const int64_t> times) {
    std::vector<int64_t> in_level(rows.count, 0);
    for (size_t i = 0; i < times.size(); ++i) in_level[rows.of_row[i]] += times[i];
    std::vector<double> of_level(rows.count), ranks(times.size());
    int64_t before = 0;
    for (size_t level = 0; level < rows.count; ++level) {
      of_level[level] = 0.5 * static_cast<double>(2 * before + in_level[level] + 1);
      before += in_level[level];
    }
    for (size_t i = 0; i < times.size(); ++i) ranks[i] = of_level[rows.of_row[i]];
    return ranks;
  }

  static double weighted_pearson(std::span<const double> x, std::span<const double> y, std::span<const int64_t> times) {
    double rows = 0, mean_x = 0, mean_y = 0, xy = 0, xx = 0, yy = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double weight = static_cast<double>(times[i]);
      rows += weight;
      mean_x += weight * x[i];
      mean_y += weight * y[i];
    }
    mean_x /= rows;
    mean_y /= rows;
    for (size_t i = 0; i < x.size(); ++i) {
      const double weight = static_cast<double>(times[i]), dx = x[i] - mean_x, dy = y[i] - mean_y;
      xy += weight * dx * dy;
      xx += weight * dx * dx;
      yy += weight * dy * dy;
    }
    return xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : kNan;
  }

  std::span<const double> x_, y_;
  Levels rows_x_, rows_y_;
};

std::vector<int64_t> once(std::span<const double> values) { return std::vector<int64_t>(values.size(), 1); }

}  // namespace

double pearson(std::span<const double> x, std::span<const double> y) { return RankedPairs(x, y).pearson(once(x)); }
double spearman(std::span<const double> x, std::span<const double> y) { return RankedPairs(x, y).spearman(once(x)); }
double kendall_tau_b(std::span<const double> x, std::span<const double> y) {
  return RankedPairs(x, y).kendall(once(x)).tau_b;
}
double kendall_tau_c(std::span<const double> x, std::span<const double> y) {
  return RankedPairs(x, y).kendall(once(x)).tau_c;
}

Correlations bootstrap_correlations(std::span<const double> x, std::span<const double> y,
                                    std::span<const int64_t> group, int64_t groups, const BootstrapOptions& options) {
  if (x.size() != y.size() || x.size() != group.size()) {
    throw DataError(describe("correlations", "as many values and groups on both sides",
                             fmt::format("{}, {} and {}", x.size(), y.size(), group.size())));
  }
  for (const int64_t index : group) {
    if (index < 0 || index >= groups) {
      throw DataError(describe("correlations", fmt::format("groups from 0 to {}", groups - 1), std::to_string(index)));
    }
  }
  const RankedPairs ranked(x, y);
  const auto values = [&](std::span<const uint32_t> drawn) {
    std::vector<int64_t> times(static_cast<size_t>(groups), 0), of_row(x.size());
    for (const uint32_t index : drawn) ++times[index];
    for (size_t i = 0; i < group.size(); ++i) of_row[i] = times[static_cast<size_t>(group[i])];
    const RankedPairs::Kendall kendall = ranked.kendall(of_row);
    return std::vector<double>{ranked.pearson(of_row), ranked.spearman(of_row), kendall.tau_b, kendall.tau_c};
  };
  const std::vector<Interval> intervals = bootstrap(Statistic{groups, values, {}}, options);
  return {intervals[0], intervals[1], intervals[2], intervals[3]};
}

}  // namespace readback::score
