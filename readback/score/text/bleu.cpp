#include "readback/score/text/bleu.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "readback/base/error.h"

namespace readback::score {

BleuCounts& BleuCounts::operator+=(const BleuCounts& other) {
  for (int k = 0; k < kMaxOrder; ++k) {
    matches[k] += other.matches[k];
    guesses[k] += other.guesses[k];
  }
  candidate_length += other.candidate_length;
  reference_length += other.reference_length;
  return *this;
}

BleuCounts count_bleu(const Tokens& candidate, std::span<const Tokens> references) {
  if (references.empty()) throw DataError(describe("BLEU", "at least one reference text", "none"));
  BleuCounts result;
  result.candidate_length = static_cast<int64_t>(candidate.size());
  const NgramCounts guesses = count_ngrams(candidate);
  std::vector<int64_t> most(guesses.size(), 0);  // the largest count of each n-gram in any one reference
  std::pair<int64_t, int64_t> closest{INT64_MAX, 0};
  for (const Tokens& reference : references) {
    const int64_t length = static_cast<int64_t>(reference.size());
    closest = std::min(closest, {std::abs(length - result.candidate_length), length});
    const NgramCounts counts = count_ngrams(reference);
    for_common_ngrams(guesses, counts, [&](size_t i, size_t j) { most[i] = std::max(most[i], counts[j].count); });
  }
  result.reference_length = closest.second;
  for (int k = 0; k < kMaxOrder; ++k) result.guesses[k] = std::max<int64_t>(0, result.candidate_length - k);
  for (size_t i = 0; i < guesses.size(); ++i) {
    result.matches[guesses[i].order - 1] += std::min(guesses[i].count, most[i]);
  }
  return result;
}

std::array<double, kMaxOrder> bleu(const BleuCounts& counts) {
  constexpr double kTiny = 1e-15, kSmall = 1e-9;
  std::array<double, kMaxOrder> result{};
  double product = 1;
  for (int k = 0; k < kMaxOrder; ++k) {
    product *= (static_cast<double>(counts.matches[k]) + kTiny) / (static_cast<double>(counts.guesses[k]) + kSmall);
    result[k] = std::pow(product, 1.0 / (k + 1));
  }
  const double ratio =
      (static_cast<double>(counts.candidate_length) + kTiny) / (static_cast<double>(counts.reference_length) + kSmall);
  if (ratio < 1) {
    for (double& value : result) value *= std::exp(1 - 1 / ratio);
  }
  return result;
}

}  // namespace readback::score
