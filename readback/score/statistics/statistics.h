// What may be concluded from per-sample values.
#pragma once
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace readback::score {

// A mean over samples with its percentile bootstrap interval. NaN everywhere when there are no values.
struct Interval {
  double mean = std::numeric_limits<double>::quiet_NaN();
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();
  int64_t count = 0;  // samples
};

struct BootstrapOptions {
  int64_t resamples = 2000;
  double confidence = 0.95;
  uint64_t seed = 0;
};

// The mean of each column over rows (samples), all columns resampled with the same rows; NaN-free input.
// Every column has the same length. Percentiles are interpolated linearly, as numpy's default.
std::vector<Interval> bootstrap_means(const std::vector<std::vector<double>>& columns,
                                      const BootstrapOptions& options = {});
Interval bootstrap_mean(std::span<const double> values, const BootstrapOptions& options = {});
// Mean of a[i] - b[i], resampled by pairs. The difference is significant at 1 - confidence when 0 lies outside.
Interval paired_difference(std::span<const double> a, std::span<const double> b, const BootstrapOptions& options = {});

double mean(std::span<const double> values);                // NaN when empty
double quantile(std::span<const double> sorted, double q);  // linear interpolation; NaN when empty
// Rank correlations, ties at their average rank; NaN when either side is constant or has fewer than two values.
double spearman(std::span<const double> x, std::span<const double> y);
double kendall_tau_b(std::span<const double> x, std::span<const double> y);  // O(n log n), Knight 1966
double kendall_tau_c(std::span<const double> x, std::span<const double> y);  // Stuart: for tables that are not square

// A permutation of 0 … n-1 without fixed points: whom each sample is paired with for the floor of random pairs.
// n = 1 gives {0}.
std::vector<int64_t> random_partners(int64_t n, uint64_t seed);

}  // namespace readback::score
