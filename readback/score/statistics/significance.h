// Whether a difference could be chance.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "readback/score/statistics/bootstrap.h"

namespace readback::score {

struct PermutationOptions {
  int64_t permutations = 10'000;
  uint64_t seed = 0;
};

// Paired permutation test (Fisher's, by random swaps as in Noreen 1989): row i of a and b is the same sample under two
// systems, and if these do not differ, its two rows might as well be swapped. The two-sided p-value of every value of
// the two: the share of swaps after which |a - b| is at least what it was. All 2^n swaps are gone through where they
// are no more than `permutations`; otherwise p = (1 + hits) / (1 + permutations), a coin a sample. NaN where a value is
// NaN. Errors: DataError when a and b differ in samples or width.
std::vector<double> paired_permutation(const Aggregate& a, const Aggregate& b, const PermutationOptions& options = {});

// One value of two systems over the same samples.
struct PairedTest {
  Interval difference;       // the one's minus the other's, bootstrap by pairs
  double p = 1, p_holm = 1;  // of paired_permutation(); the latter corrected by holm() for all that were made together
};

// Holm's step-down correction: p-values that hold for all tests together, in the order given, at most 1. NaN stays NaN
// and counts as no test.
std::vector<double> holm(std::span<const double> p_values);

// A permutation of 0 … n-1 without fixed points: whom each sample is paired with for the floor of random pairs.
// n = 1 gives {0}.
std::vector<int64_t> random_partners(int64_t n, uint64_t seed);

}  // namespace readback::score
