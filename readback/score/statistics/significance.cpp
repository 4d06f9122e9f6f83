#include "readback/score/statistics/significance.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "readback/base/error.h"
#include "readback/base/random.h"

namespace readback::score {

namespace {

// Sums are equal up to rounding when the same rows are added in another order.
constexpr double kRounding = 1e-12;

// The two systems, and what swapping samples does to their values.
class Swaps {
 public:
  Swaps(const Aggregate& a, const Aggregate& b) : a_(a), b_(b), differences_(a.rows.size()) {
    std::vector<uint32_t> all(static_cast<size_t>(a.samples()));
    std::iota(all.begin(), all.end(), uint32_t{0});
    for (size_t i = 0; i < differences_.size(); ++i) differences_[i] = a.rows[i] - b.rows[i];
    sums_a_ = sum_rows(a.rows, a.width, all);
    sums_b_ = sum_rows(b.rows, b.width, all);
    const std::vector<double> of_a = a.values(sums_a_, a.samples()), of_b = b.values(sums_b_, b.samples());
    for (size_t v = 0; v < of_a.size(); ++v) {
      observed_.push_back(std::abs(of_a[v] - of_b[v]) - kRounding * std::max(std::abs(of_a[v]), std::abs(of_b[v])));
    }
    hits_.resize(observed_.size());
  }

  void swap(std::span<const uint32_t> samples) {
    const std::vector<double> moved = sum_rows(differences_, a_.width, samples);
    std::vector<double> left = sums_a_, right = sums_b_;
    for (size_t c = 0; c < moved.size(); ++c) {
      left[c] -= moved[c];
      right[c] += moved[c];
    }
    const std::vector<double> of_a = a_.values(left, a_.samples()), of_b = b_.values(right, b_.samples());
    for (size_t v = 0; v < hits_.size(); ++v) hits_[v] += std::abs(of_a[v] - of_b[v]) >= observed_[v];
  }

  // (more + hits) / (more + swaps)
  std::vector<double> p_values(int64_t swaps, int64_t more) const {
    std::vector<double> result;
    for (size_t v = 0; v < hits_.size(); ++v) {
      result.push_back(std::isnan(observed_[v])
                           ? observed_[v]
                           : static_cast<double>(more + hits_[v]) / static_cast<double>(more + swaps));
    }
    return result;
  }

 private:
  const Aggregate &a_, &b_;
  std::vector<double> differences_, sums_a_, sums_b_;
  std::vector<double> observed_;  // less what rounding may take away
  std::vector<int64_t> hits_;
};

// Takes each sample for which `coin` gives true.
template <typename Coin>
std::span<const uint32_t> choose(std::vector<uint32_t>& scratch, Coin coin) {
  size_t count = 0;
  for (size_t i = 0; i < scratch.size(); ++i) {
    scratch[count] = static_cast<uint32_t>(i);
    count += coin(i);
  }
  return std::span(scratch).first(count);
}

}  // namespace

std::vector<double> paired_permutation(const Aggregate& a, const Aggregate& b, const PermutationOptions& options) {
  if (a.samples() != b.samples() || a.width != b.width) {
    throw DataError(describe("permutation test",
                             fmt::format("{} samples of {} numbers of both systems", a.samples(), a.width),
                             fmt::format("{} samples of {} numbers of the second", b.samples(), b.width)));
  }
  Swaps swaps(a, b);
  const int64_t samples = a.samples();
  std::vector<uint32_t> scratch(static_cast<size_t>(samples));
  if (samples < 62 && (int64_t{1} << samples) <= options.permutations) {
    const int64_t all = int64_t{1} << samples;
    for (int64_t mask = 0; mask < all; ++mask) swaps.swap(choose(scratch, [&](size_t i) { return (mask >> i) & 1; }));
    return swaps.p_values(all, 0);
  }
  Random random(options.seed, Purpose::kPermutation);
  for (int64_t k = 0; k < options.permutations; ++k) {
    uint32_t bits = 0;
    swaps.swap(choose(scratch, [&](size_t i) {
      bits = i % 32 == 0 ? random.next() : bits >> 1;
      return bits & 1;
    }));
  }
  return swaps.p_values(options.permutations, 1);
}

std::vector<double> holm(std::span<const double> p_values) {
  std::vector<size_t> order;
  for (size_t i = 0; i < p_values.size(); ++i) {
    if (!std::isnan(p_values[i])) order.push_back(i);
  }
  std::sort(order.begin(), order.end(), [&](size_t x, size_t y) { return p_values[x] < p_values[y]; });
  std::vector<double> adjusted(p_values.begin(), p_values.end());
  double largest = 0;
  for (size_t step = 0; step < order.size(); ++step) {
    largest = std::max(largest, static_cast<double>(order.size() - step) * p_values[order[step]]);
    adjusted[order[step]] = std::min(1.0, largest);
  }
  return adjusted;
}

std::vector<int64_t> random_partners(int64_t n, uint64_t seed) {
  std::vector<int64_t> partners(static_cast<size_t>(n));
  std::iota(partners.begin(), partners.end(), int64_t{0});
  Random random(seed, Purpose::kRandomPairs);
  for (int64_t i = n - 1; i > 0; --i) std::swap(partners[i], partners[random.below(i)]);  // Sattolo: one cycle
  return partners;
}

}  // namespace readback::score
