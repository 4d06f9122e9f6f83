#include "readback/score/text/cider.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "readback/base/error.h"

namespace readback::score {

namespace {

constexpr double kSigma = 6.0;

// The tf-idf vectors of one text, one for each order, side by side.
struct Vectors {
  NgramCounts ngrams;
  std::vector<double> weights;
  std::array<double, kMaxOrder> norms{};
  double length = 0;  // in bigrams, as the original code counts it
};

Vectors vectorize(const Tokens& words, const DocumentFrequencies& frequencies) {
  const double log_documents = std::log(static_cast<double>(std::max<int64_t>(1, frequencies.documents())));
  Vectors result{.ngrams = count_ngrams(words), .weights = {}};
  for (const NgramCount& entry : result.ngrams) {
    const int64_t frequency = frequencies.frequency(entry.ngram);
    const double idf = log_documents - (frequency > 1 ? std::log(static_cast<double>(frequency)) : 0);
    const double weight = static_cast<double>(entry.count) * idf;
    result.weights.push_back(weight);
    result.norms[entry.order - 1] += weight * weight;
    if (entry.order == 2) result.length += static_cast<double>(entry.count);
  }
  for (double& norm : result.norms) norm = std::sqrt(norm);
  return result;
}

double similarity(const Vectors& candidate, const Vectors& reference, CiderVariant variant) {
  std::array<double, kMaxOrder> products{};
  for_common_ngrams(candidate.ngrams, reference.ngrams, [&](size_t i, size_t j) {
    const double weight = candidate.weights[i], other = reference.weights[j];
    products[candidate.ngrams[i].order - 1] += (variant == CiderVariant::kD ? std::min(weight, other) : weight) * other;
  });
  double sum = 0;
  for (int k = 0; k < kMaxOrder; ++k) {
    const double norms = candidate.norms[k] * reference.norms[k];
    sum += norms == 0 ? products[k] : products[k] / norms;
  }
  if (variant == CiderVariant::kPlain) return sum;
  const double difference = candidate.length - reference.length;
  return sum * std::exp(-difference * difference / (2 * kSigma * kSigma));
}

}  // namespace

double cider(const Tokens& candidate, std::span<const Tokens> references, const DocumentFrequencies& frequencies,
             CiderVariant variant) {
  if (references.empty()) throw DataError(describe("CIDEr", "at least one reference text", "none"));
  const Vectors vectors = vectorize(candidate, frequencies);
  double sum = 0;
  for (const Tokens& reference : references) sum += similarity(vectors, vectorize(reference, frequencies), variant);
  return 10 * sum / kMaxOrder / static_cast<double>(references.size());
}

}  // namespace readback::score
