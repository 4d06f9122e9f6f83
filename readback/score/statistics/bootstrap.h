// Bootstrap intervals (Efron 1979, 1987): how far a value would move had other samples been drawn.
#pragma once
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

namespace readback::score {

// A value over samples, mostly their mean, with its bootstrap interval. NaN everywhere when there are no samples.
struct Interval {
  double mean = std::numeric_limits<double>::quiet_NaN();
  double low = std::numeric_limits<double>::quiet_NaN();
  double high = std::numeric_limits<double>::quiet_NaN();
  int64_t count = 0;  // samples
};

// Values of a set of samples that follow from sums over them: means, and corpus scores such as BLEU and METEOR, which
// are no means of the samples' scores.
struct Aggregate {
  int64_t width = 0;         // numbers a sample
  std::vector<double> rows;  // [samples, width], without NaN
  // The values, always equally many; also asked for no samples at all, where NaN is a good answer.
  std::function<std::vector<double>(std::span<const double> sums, int64_t samples)> values;
  int64_t samples() const { return width > 0 ? static_cast<int64_t>(rows.size()) / width : 0; }
};

// The means of columns that have one value a sample each.
Aggregate aggregate_means(const std::vector<std::vector<double>>& columns);

enum class BootstrapMethod {
  kPercentile,  // quantiles of the resampled values
  kBca,         // bias-corrected and accelerated; ties with the value count half, acceleration by the jackknife
};

struct BootstrapOptions {
  int64_t resamples = 2000;
  double confidence = 0.95;
  uint64_t seed = 0;
  BootstrapMethod method = BootstrapMethod::kPercentile;
};

// Values of a set of samples of any other kind.
struct Statistic {
  int64_t samples = 0;
  // Of the samples drawn, some of them several times: always equally many values, for no samples too.
  std::function<std::vector<double>(std::span<const uint32_t> drawn)> values;
  // Of all samples but one; where not given, `values` of the others.
  std::function<std::vector<double>(int64_t left_out)> values_without;
};

// An interval for each of the values, which all see the same resamples. Quantiles are interpolated linearly, as numpy's
// default; resamples of which a value is NaN are left out for it. Errors: DataError when rows are no multiple of width.
std::vector<Interval> bootstrap(const Aggregate& aggregate, const BootstrapOptions& options = {});
std::vector<Interval> bootstrap(const Statistic& statistic, const BootstrapOptions& options = {});
// Values of a minus values of b, resampled by pairs: row i of both is the same sample under two systems. A difference
// is significant at 1 - confidence when 0 lies outside. Errors: DataError when they have different numbers of samples.
std::vector<Interval> paired_difference(const Aggregate& a, const Aggregate& b, const BootstrapOptions& options = {});

// The same for means. Every column has the same length, without NaN.
std::vector<Interval> bootstrap_means(const std::vector<std::vector<double>>& columns,
                                      const BootstrapOptions& options = {});
Interval bootstrap_mean(std::span<const double> values, const BootstrapOptions& options = {});
Interval paired_difference(std::span<const double> a, std::span<const double> b, const BootstrapOptions& options = {});

double mean(std::span<const double> values);                // NaN when empty
double quantile(std::span<const double> sorted, double q);  // linear interpolation; NaN when empty

// Sums of the drawn rows of [samples, width], added in their order.
std::vector<double> sum_rows(std::span<const double> rows, int64_t width, std::span<const uint32_t> drawn);

}  // namespace readback::score
