#include "readback/score/statistics/correlation.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "readback/base/error.h"

namespace readback::score {

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Each value's place among the different values, from 0.
struct Levels {
  std::vector<uint32_t> of_row;
  size_t count = 0;

  explicit Levels(std::span<const double> values) : of_row(values.size()) {
    std::vector<uint32_t> order(values.size());
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

// Two lists whose rows belong to groups, sorted once for all the resamples, which only change how many times a group
// is there.
class RankedPairs {
 public:
  RankedPairs(std::span<const double> x, std::span<const double> y, std::span<const int64_t> group)
      : x_(x), y_(y), levels_x_(x), levels_y_(y), rows_(x.size()) {
    for (size_t i = 0; i < rows_.size(); ++i) {
      rows_[i] = {levels_x_.of_row[i], levels_y_.of_row[i], static_cast<uint32_t>(group[i])};
    }
    by_x_ = rows_;
    std::sort(by_x_.begin(), by_x_.end(), [](const Row& a, const Row& b) { return a.x < b.x; });
  }

  double pearson(std::span<const int64_t> times) const {
    // Of a constant, rounding may leave the mean off and a variance above 0.
    if (is_constant(times, &Row::x) || is_constant(times, &Row::y)) return kNan;
    return weighted_pearson(x_, y_, times);
  }

  double spearman(std::span<const int64_t> times) const {
    return weighted_pearson(average_ranks(times, &Row::x, levels_x_.count),
                            average_ranks(times, &Row::y, levels_y_.count), times);
  }

  struct Kendall {
    double tau_b = kNan, tau_c = kNan;
  };
  Kendall kendall(std::span<const int64_t> times) const {
    // Rows in the order of x, those of equal x together: a pair is concordant when the earlier one has the lower y.
    LevelCounts before(levels_y_.count);
    std::vector<int64_t> of_y(levels_y_.count, 0);
    int64_t rows = 0, surplus = 0, tied_x = 0, levels_x = 0;
    for (auto begin = by_x_.begin(); begin != by_x_.end();) {
      int64_t in_level = 0;
      auto end = begin;
      for (; end != by_x_.end() && end->x == begin->x; ++end) {
        const int64_t count = times[end->group];
        if (count == 0) continue;
        surplus += count * (before.below(end->y) - (rows - before.below(end->y + 1)));
        in_level += count;
      }
      for (; begin != end; ++begin) {
        const int64_t count = times[begin->group];
        if (count == 0) continue;
        before.add(begin->y, count);
        of_y[begin->y] += count;
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
  struct Row {
    uint32_t x, y, group;  // levels of x and y
  };

  static int64_t pairs(int64_t n) { return n * (n - 1) / 2; }

  bool is_constant(std::span<const int64_t> times, uint32_t Row::*side) const {
    const Row* first = nullptr;
    for (const Row& row : rows_) {
      if (times[row.group] == 0) continue;
      if (first == nullptr) first = &row;
      if (row.*side != first->*side) return false;
    }
    return true;
  }

  std::vector<double> average_ranks(std::span<const int64_t> times, uint32_t Row::*side, size_t levels) const {
    std::vector<int64_t> in_level(levels, 0);
    for (const Row& row : rows_) in_level[row.*side] += times[row.group];
    std::vector<double> of_level(levels), ranks;
    int64_t before = 0;
    for (size_t level = 0; level < levels; ++level) {
      of_level[level] = 0.5 * static_cast<double>(2 * before + in_level[level] + 1);
      before += in_level[level];
    }
    ranks.reserve(rows_.size());
    for (const Row& row : rows_) ranks.push_back(of_level[row.*side]);
    return ranks;
  }

  double weighted_pearson(std::span<const double> x, std::span<const double> y, std::span<const int64_t> times) const {
    double rows = 0, mean_x = 0, mean_y = 0, xy = 0, xx = 0, yy = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double weight = static_cast<double>(times[rows_[i].group]);
      rows += weight;
      mean_x += weight * x[i];
      mean_y += weight * y[i];
    }
    mean_x /= rows;
    mean_y /= rows;
    for (size_t i = 0; i < x.size(); ++i) {
      const double weight = static_cast<double>(times[rows_[i].group]), dx = x[i] - mean_x, dy = y[i] - mean_y;
      xy += weight * dx * dy;
      xx += weight * dx * dx;
      yy += weight * dy * dy;
    }
    return xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : kNan;
  }

  std::span<const double> x_, y_;
  Levels levels_x_, levels_y_;
  std::vector<Row> rows_, by_x_;
};

constexpr std::array<int64_t, 1> kOnce = {1};  // one group, there once

RankedPairs one_group(std::span<const double> x, std::span<const double> y) {
  return RankedPairs(x, y, std::vector<int64_t>(x.size(), 0));
}

}  // namespace

double pearson(std::span<const double> x, std::span<const double> y) { return one_group(x, y).pearson(kOnce); }
double spearman(std::span<const double> x, std::span<const double> y) { return one_group(x, y).spearman(kOnce); }
double kendall_tau_b(std::span<const double> x, std::span<const double> y) {
  return one_group(x, y).kendall(kOnce).tau_b;
}
double kendall_tau_c(std::span<const double> x, std::span<const double> y) {
  return one_group(x, y).kendall(kOnce).tau_c;
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
  const RankedPairs ranked(x, y, group);
  const auto values = [&](std::span<const uint32_t> drawn) {
    std::vector<int64_t> times(static_cast<size_t>(groups), 0);
    for (const uint32_t index : drawn) ++times[index];
    const RankedPairs::Kendall kendall = ranked.kendall(times);
    return std::vector<double>{ranked.pearson(times), ranked.spearman(times), kendall.tau_b, kendall.tau_c};
  };
  const std::vector<Interval> intervals = bootstrap(Statistic{groups, values, {}}, options);
  return {intervals[0], intervals[1], intervals[2], intervals[3]};
}

}  // namespace readback::score
