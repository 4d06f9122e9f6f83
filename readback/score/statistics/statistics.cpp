#include "readback/score/statistics/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "readback/base/random.h"

namespace readback::score {

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// Ranks from 1, ties at their average.
std::vector<double> average_ranks(std::span<const double> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (size_t i = begin; i < end; ++i) ranks[order[i]] = 0.5 * static_cast<double>(begin + 1 + end);
    begin = end;
  }
  return ranks;
}

// How many swaps of neighbours sort the values (merge sort); sorts them.
int64_t count_inversions(std::span<double> values, std::span<double> scratch) {
  if (values.size() < 2) return 0;
  const size_t half = values.size() / 2;
  int64_t swaps = count_inversions(values.first(half), scratch.first(half)) +
                  count_inversions(values.subspan(half), scratch.subspan(half));
  size_t left = 0, right = half, out = 0;
  while (left < half || right < values.size()) {
    if (right == values.size() || (left < half && values[left] <= values[right])) {
      scratch[out++] = values[left++];
    } else {
      swaps += static_cast<int64_t>(half - left);
      scratch[out++] = values[right++];
    }
  }
  std::copy(scratch.begin(), scratch.end(), values.begin());
  return swaps;
}

// Pairs within runs of equal elements of a sorted sequence.
template <typename Equal>
int64_t tied_pairs(size_t count, Equal equal_to_previous) {
  int64_t pairs = 0, run = 1;
  for (size_t i = 1; i < count; ++i) {
    run = equal_to_previous(i) ? run + 1 : 1;
    pairs += run - 1;
  }
  return pairs;
}

struct PairCounts {
  int64_t all = 0, tied_x = 0, tied_y = 0;
  int64_t surplus = 0;  // concordant minus discordant
  int64_t distinct_x = 0, distinct_y = 0;
};

PairCounts count_pairs(std::span<const double> x, std::span<const double> y) {
  const size_t n = x.size();
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return x[a] != x[b] ? x[a] < x[b] : y[a] < y[b]; });
  const auto same_x = [&](size_t i) { return x[order[i]] == x[order[i - 1]]; };
  PairCounts counts;
  counts.all = static_cast<int64_t>(n) * (static_cast<int64_t>(n) - 1) / 2;
  counts.tied_x = tied_pairs(n, same_x);
  const int64_t tied_both = tied_pairs(n, [&](size_t i) { return same_x(i) && y[order[i]] == y[order[i - 1]]; });
  counts.distinct_x = 1;
  for (size_t i = 1; i < n; ++i) counts.distinct_x += !same_x(i);

  std::vector<double> values(n), scratch(n);
  for (size_t i = 0; i < n; ++i) values[i] = y[order[i]];
  const int64_t discordant = count_inversions(values, scratch);
  const auto same_y = [&](size_t i) { return values[i] == values[i - 1]; };
  counts.tied_y = tied_pairs(n, same_y);
  counts.distinct_y = 1;
  for (size_t i = 1; i < n; ++i) counts.distinct_y += !same_y(i);
  counts.surplus = counts.all - counts.tied_x - counts.tied_y + tied_both - 2 * discordant;
  return counts;
}

Interval interval(double mean, std::vector<double>& resampled, int64_t count, double confidence) {
  std::sort(resampled.begin(), resampled.end());
  const double tail = (1 - confidence) / 2;
  return {mean, quantile(resampled, tail), quantile(resampled, 1 - tail), count};
}

}  // namespace

double mean(std::span<const double> values) {
  return values.empty() ? kNan
                        : std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double quantile(std::span<const double> sorted, double q) {
  if (sorted.empty()) return kNan;
  const double position = q * static_cast<double>(sorted.size() - 1);
  const size_t below = std::min(static_cast<size_t>(std::max(position, 0.0)), sorted.size() - 1);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (position - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

std::vector<Interval> bootstrap_means(const std::vector<std::vector<double>>& columns,
                                      const BootstrapOptions& options) {
  std::vector<Interval> intervals(columns.size());
  if (columns.empty() || columns.front().empty()) return intervals;
  const size_t rows = columns.front().size(), width = columns.size();
  std::vector<double> table(rows * width);  // row by row, so that a drawn row is one stretch of memory
  for (size_t c = 0; c < width; ++c) {
    for (size_t r = 0; r < rows; ++r) table[r * width + c] = columns[c][r];
  }
  std::vector<std::vector<double>> resampled(width, std::vector<double>(static_cast<size_t>(options.resamples)));
  std::vector<double> sums(width);
  Random random(options.seed, "bootstrap");
  for (int64_t k = 0; k < options.resamples; ++k) {
    std::fill(sums.begin(), sums.end(), 0.0);
    for (size_t draw = 0; draw < rows; ++draw) {
      // A 32-bit multiply-shift: its bias is below rows / 2^32.
      const size_t row = static_cast<size_t>((uint64_t{random.next()} * rows) >> 32);
      for (size_t c = 0; c < width; ++c) sums[c] += table[row * width + c];
    }
    for (size_t c = 0; c < width; ++c) resampled[c][static_cast<size_t>(k)] = sums[c] / static_cast<double>(rows);
  }
  for (size_t c = 0; c < width; ++c) {
    intervals[c] = interval(mean(columns[c]), resampled[c], static_cast<int64_t>(rows), options.confidence);
  }
  return intervals;
}

Interval bootstrap_mean(std::span<const double> values, const BootstrapOptions& options) {
  return bootstrap_means({std::vector<double>(values.begin(), values.end())}, options).front();
}

Interval paired_difference(std::span<const double> a, std::span<const double> b, const BootstrapOptions& options) {
  std::vector<double> differences(std::min(a.size(), b.size()));
  for (size_t i = 0; i < differences.size(); ++i) differences[i] = a[i] - b[i];
  return bootstrap_mean(differences, options);
}

double spearman(std::span<const double> x, std::span<const double> y) {
  const std::vector<double> rank_x = average_ranks(x), rank_y = average_ranks(y);
  const double mean_x = mean(rank_x), mean_y = mean(rank_y);
  double xy = 0, xx = 0, yy = 0;
  for (size_t i = 0; i < rank_x.size(); ++i) {
    xy += (rank_x[i] - mean_x) * (rank_y[i] - mean_y);
    xx += (rank_x[i] - mean_x) * (rank_x[i] - mean_x);
    yy += (rank_y[i] - mean_y) * (rank_y[i] - mean_y);
  }
  return xx > 0 && yy > 0 ? xy / std::sqrt(xx * yy) : kNan;
}

double kendall_tau_b(std::span<const double> x, std::span<const double> y) {
  const PairCounts counts = count_pairs(x, y);
  const double untied_x = static_cast<double>(counts.all - counts.tied_x);
  const double untied_y = static_cast<double>(counts.all - counts.tied_y);
  if (untied_x <= 0 || untied_y <= 0) return kNan;
  return static_cast<double>(counts.surplus) / std::sqrt(untied_x) / std::sqrt(untied_y);
}

double kendall_tau_c(std::span<const double> x, std::span<const double> y) {
  const PairCounts counts = count_pairs(x, y);
  const double classes = static_cast<double>(std::min(counts.distinct_x, counts.distinct_y));
  if (classes < 2) return kNan;
  const double n = static_cast<double>(x.size());
  return 2.0 * static_cast<double>(counts.surplus) / (n * n * (classes - 1) / classes);
}

std::vector<int64_t> random_partners(int64_t n, uint64_t seed) {
  std::vector<int64_t> partners(static_cast<size_t>(n));
  std::iota(partners.begin(), partners.end(), int64_t{0});
  Random random(seed, "random pairs");
  for (int64_t i = n - 1; i > 0; --i) std::swap(partners[i], partners[random.below(i)]);  // Sattolo: one cycle
  return partners;
}

}  // namespace readback::score
