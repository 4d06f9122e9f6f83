#include "readback/score/statistics/bootstrap.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "readback/base/error.h"
#include "readback/base/random.h"

namespace readback::score {

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

void check(const Aggregate& aggregate) {
  if (aggregate.width < 1 || static_cast<int64_t>(aggregate.rows.size()) != aggregate.samples() * aggregate.width) {
    throw DataError(describe("statistics", fmt::format("rows of {} numbers", aggregate.width),
                             fmt::format("{} numbers", aggregate.rows.size())));
  }
}

// A few columns at a time stay in registers, however many rows are drawn.
template <size_t kColumns>
void add_columns(const double* rows, size_t width, std::span<const uint32_t> drawn, double* sums) {
  double block[kColumns] = {};
  for (const uint32_t row : drawn) {
    const double* values = rows + row * width;
    for (size_t c = 0; c < kColumns; ++c) block[c] += values[c];
  }
  std::copy(block, block + kColumns, sums);
}

std::vector<uint32_t> all_samples(int64_t samples) {
  std::vector<uint32_t> all(static_cast<size_t>(samples));
  std::iota(all.begin(), all.end(), uint32_t{0});
  return all;
}

double normal_cdf(double z) { return 0.5 * std::erfc(-z / std::numbers::sqrt2); }

// Abramowitz and Stegun 26.2.23, right to 4.5e-4, then two steps of Halley's method, each of which cubes the error.
double normal_quantile(double p) {
  if (p > 0.5) return -normal_quantile(1 - p);
  const double t = std::sqrt(-2 * std::log(p));
  double z = (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308))) - t;
  for (int step = 0; step < 2; ++step) {
    const double error = (normal_cdf(z) - p) * std::sqrt(2 * std::numbers::pi) * std::exp(z * z / 2);
    z -= error / (1 + z * error / 2);
  }
  return z;
}

double acceleration(std::span<const double> jackknife) {
  const double center = mean(jackknife);
  double squares = 0, cubes = 0;
  for (const double value : jackknife) {
    const double influence = center - value;
    squares += influence * influence;
    cubes += influence * influence * influence;
  }
  return squares > 0 ? cubes / (6 * squares * std::sqrt(squares)) : 0;
}

// Where in the sorted resampled values the bounds lie that would be at `levels` if these were unbiased.
std::pair<double, double> bca_levels(std::pair<double, double> levels, double value, std::span<const double> resampled,
                                     std::span<const double> jackknife) {
  if (resampled.empty()) return levels;
  const auto [first, last] = std::equal_range(resampled.begin(), resampled.end(), value);
  const double count = static_cast<double>(resampled.size());
  const double below = 0.5 * static_cast<double>((first - resampled.begin()) + (last - resampled.begin())) / count;
  // Where all resamples lie on one side, the bias is that of half a resample on the other.
  const double bias = normal_quantile(std::clamp(below, 0.5 / count, 1 - 0.5 / count));
  const double accelerated = acceleration(jackknife);
  const auto level = [&](double unbiased) {
    const double shifted = bias + normal_quantile(unbiased);
    return normal_cdf(bias + shifted / (1 - accelerated * shifted));
  };
  return {level(levels.first), level(levels.second)};
}

// NaN is left out.
void append(std::vector<std::vector<double>>& lists, std::span<const double> values) {
  for (size_t v = 0; v < lists.size(); ++v) {
    if (!std::isnan(values[v])) lists[v].push_back(values[v]);
  }
}

// Draws with replacement, as many as there are samples, resample after resample.
std::vector<std::vector<double>> resampled_values(const Statistic& statistic, size_t values,
                                                  const BootstrapOptions& options) {
  std::vector<std::vector<double>> result(values);
  std::vector<uint32_t> drawn(static_cast<size_t>(statistic.samples));
  Random random(options.seed, Purpose::kBootstrap);
  for (int64_t k = 0; k < options.resamples; ++k) {
    // A 32-bit multiply-shift: its bias is below samples / 2^32.
    for (uint32_t& row : drawn) row = static_cast<uint32_t>((uint64_t{random.next()} * drawn.size()) >> 32);
    append(result, statistic.values(drawn));
  }
  return result;
}

std::vector<std::vector<double>> jackknife(const Statistic& statistic, size_t values) {
  std::vector<std::vector<double>> result(values);
  std::vector<uint32_t> others = all_samples(statistic.samples);
  if (others.empty()) return result;
  others.erase(others.begin());
  for (int64_t i = 0; i < statistic.samples; ++i) {
    append(result, statistic.values_without ? statistic.values_without(i) : statistic.values(others));
    if (i + 1 < statistic.samples) others[static_cast<size_t>(i)] = static_cast<uint32_t>(i);
  }
  return result;
}

}  // namespace

Aggregate aggregate_means(const std::vector<std::vector<double>>& columns) {
  const size_t width = columns.size(), samples = columns.empty() ? 0 : columns.front().size();
  Aggregate aggregate{static_cast<int64_t>(width), std::vector<double>(samples * width), {}};
  for (size_t c = 0; c < width; ++c) {
    for (size_t i = 0; i < samples; ++i) aggregate.rows[i * width + c] = columns[c][i];
  }
  aggregate.values = [](std::span<const double> sums, int64_t samples) {
    std::vector<double> means(sums.begin(), sums.end());
    for (double& value : means) value = samples > 0 ? value / static_cast<double>(samples) : kNan;
    return means;
  };
  return aggregate;
}

std::vector<double> sum_rows(std::span<const double> rows, int64_t width, std::span<const uint32_t> drawn) {
  const size_t columns = static_cast<size_t>(width);
  std::vector<double> sums(columns);
  if (rows.empty()) return sums;
  size_t c = 0;
  for (; c + 16 <= columns; c += 16) add_columns<16>(rows.data() + c, columns, drawn, sums.data() + c);
  for (; c + 4 <= columns; c += 4) add_columns<4>(rows.data() + c, columns, drawn, sums.data() + c);
  for (; c < columns; ++c) add_columns<1>(rows.data() + c, columns, drawn, sums.data() + c);
  return sums;
}

std::vector<Interval> bootstrap(const Statistic& statistic, const BootstrapOptions& options) {
  const std::vector<double> values = statistic.values(all_samples(statistic.samples));
  std::vector<Interval> intervals(values.size());
  if (statistic.samples == 0) return intervals;
  auto resampled = resampled_values(statistic, values.size(), options);
  std::vector<std::vector<double>> without_one;
  if (options.method == BootstrapMethod::kBca) without_one = jackknife(statistic, values.size());
  const double tail = (1 - options.confidence) / 2;
  for (size_t v = 0; v < values.size(); ++v) {
    std::sort(resampled[v].begin(), resampled[v].end());
    std::pair<double, double> levels{tail, 1 - tail};
    if (!without_one.empty()) levels = bca_levels(levels, values[v], resampled[v], without_one[v]);
    intervals[v] = {values[v], quantile(resampled[v], levels.first), quantile(resampled[v], levels.second),
                    statistic.samples};
  }
  return intervals;
}

std::vector<Interval> bootstrap(const Aggregate& aggregate, const BootstrapOptions& options) {
  check(aggregate);
  const size_t width = static_cast<size_t>(aggregate.width);
  const std::vector<double> sums = sum_rows(aggregate.rows, aggregate.width, all_samples(aggregate.samples()));
  const auto of_drawn = [&](std::span<const uint32_t> drawn) {
    return aggregate.values(sum_rows(aggregate.rows, aggregate.width, drawn), static_cast<int64_t>(drawn.size()));
  };
  const auto of_others = [&](int64_t left_out) {
    std::vector<double> rest = sums;
    for (size_t c = 0; c < width; ++c) rest[c] -= aggregate.rows[static_cast<size_t>(left_out) * width + c];
    return aggregate.values(rest, aggregate.samples() - 1);
  };
  return bootstrap(Statistic{aggregate.samples(), of_drawn, of_others}, options);
}

std::vector<Interval> paired_difference(const Aggregate& a, const Aggregate& b, const BootstrapOptions& options) {
  check(a);
  check(b);
  if (a.samples() != b.samples()) {
    throw DataError(describe("paired difference", fmt::format("{} samples of both systems", a.samples()),
                             fmt::format("{} of the second", b.samples())));
  }
  const size_t left = static_cast<size_t>(a.width), right = static_cast<size_t>(b.width);
  Aggregate both{a.width + b.width, {}, [&, left](std::span<const double> sums, int64_t samples) {
                   std::vector<double> values = a.values(sums.first(left), samples);
                   const std::vector<double> others = b.values(sums.subspan(left), samples);
                   for (size_t v = 0; v < values.size(); ++v) values[v] -= others[v];
                   return values;
                 }};
  both.rows.reserve(a.rows.size() + b.rows.size());
  for (size_t i = 0; i < static_cast<size_t>(a.samples()); ++i) {
    both.rows.insert(both.rows.end(), a.rows.begin() + i * left, a.rows.begin() + (i + 1) * left);
    both.rows.insert(both.rows.end(), b.rows.begin() + i * right, b.rows.begin() + (i + 1) * right);
  }
  return bootstrap(both, options);
}

std::vector<Interval> bootstrap_means(const std::vector<std::vector<double>>& columns,
                                      const BootstrapOptions& options) {
  if (columns.empty()) return {};
  return bootstrap(aggregate_means(columns), options);
}

Interval bootstrap_mean(std::span<const double> values, const BootstrapOptions& options) {
  return bootstrap_means({std::vector<double>(values.begin(), values.end())}, options).front();
}

Interval paired_difference(std::span<const double> a, std::span<const double> b, const BootstrapOptions& options) {
  std::vector<double> differences(std::min(a.size(), b.size()));
  for (size_t i = 0; i < differences.size(); ++i) differences[i] = a[i] - b[i];
  return bootstrap_mean(differences, options);
}

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

}  // namespace readback::score
