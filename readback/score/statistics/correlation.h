// How far two lists of equal length go together. All are in [-1, 1]; NaN when either side is constant or has fewer than
// two values.
#pragma once
#include <cstdint>
#include <span>

#include "readback/score/statistics/bootstrap.h"

namespace readback::score {

double pearson(std::span<const double> x, std::span<const double> y);
double spearman(std::span<const double> x, std::span<const double> y);       // ties at their average rank
double kendall_tau_b(std::span<const double> x, std::span<const double> y);  // O(n log n), after Knight 1966
double kendall_tau_c(std::span<const double> x, std::span<const double> y);  // Stuart: for tables that are not square

// With intervals, whose count is that of the groups.
struct Correlations {
  Interval pearson, spearman, kendall_tau_b, kendall_tau_c;
};

// All four, resampled by groups: group[i] says which of 0 … groups - 1 row i belongs to. Rows that have something in
// common, such as judgements of captions of one image, are drawn together; otherwise intervals come out too narrow.
// Errors: DataError when the lists differ in length or a group is out of range.
Correlations bootstrap_correlations(std::span<const double> x, std::span<const double> y,
                                    std::span<const int64_t> group, int64_t groups,
                                    const BootstrapOptions& options = {});

}  // namespace readback::score
