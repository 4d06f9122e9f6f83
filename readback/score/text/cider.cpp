#include "readback/score/text/cider.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_set>

#include "readback/base/error.h"

namespace readback::score {

namespace {

constexpr double kSigma = 6.0;

// The tf-idf vectors of one text, one for each order.
struct Vectors {
  std::array<std::unordered_map<std::string, double>, kMaxOrder> weights;
  std::array<double, kMaxOrder> norms{};
  double length = 0;  // in bigrams, as the original code counts it
};

Vectors vectorize(const Tokens& words, const DocumentFrequencies& frequencies) {
  const double log_documents = std::log(static_cast<double>(std::max<int64_t>(1, frequencies.documents())));
  Vectors result;
  for (const auto& [ngram, value] : count_ngrams(words)) {
    const double log_frequency = std::log(static_cast<double>(std::max<int64_t>(1, frequencies.frequency(ngram))));
    const double weight = static_cast<double>(value.count) * (log_documents - log_frequency);
    result.weights[value.order - 1][ngram] = weight;
    result.norms[value.order - 1] += weight * weight;
    if (value.order == 2) result.length += static_cast<double>(value.count);
  }
  for (double& norm : result.norms) norm = std::sqrt(norm);
  return result;
}

double similarity(const Vectors& candidate, const Vectors& reference, CiderVariant variant) {
  double sum = 0;
  for (int k = 0; k < kMaxOrder; ++k) {
    double product = 0;
    for (const auto& [ngram, weight] : candidate.weights[k]) {
      const auto found = reference.weights[k].find(ngram);
      if (found == reference.weights[k].end()) continue;
      product += (variant == CiderVariant::kD ? std::min(weight, found->second) : weight) * found->second;
    }
    const double norms = candidate.norms[k] * reference.norms[k];
    sum += norms == 0 ? product : product / norms;
  }
  if (variant == CiderVariant::kPlain) return sum;
  const double difference = candidate.length - reference.length;
  return sum * std::exp(-difference * difference / (2 * kSigma * kSigma));
}

}  // namespace

void DocumentFrequencies::add(std::span<const Tokens> references) {
  std::unordered_set<std::string> present;
  for (const Tokens& reference : references) {
    for (const auto& [ngram, value] : count_ngrams(reference)) present.insert(ngram);
  }
  for (const std::string& ngram : present) ++frequencies_[ngram];
  ++documents_;
}

int64_t DocumentFrequencies::frequency(const std::string& ngram) const {
  const auto found = frequencies_.find(ngram);
  return found == frequencies_.end() ? 0 : found->second;
}

double cider(const Tokens& candidate, std::span<const Tokens> references, const DocumentFrequencies& frequencies,
             CiderVariant variant) {
  if (references.empty()) throw DataError(describe("CIDEr", "at least one reference text", "none"));
  const Vectors vectors = vectorize(candidate, frequencies);
  double sum = 0;
  for (const Tokens& reference : references) sum += similarity(vectors, vectorize(reference, frequencies), variant);
  return 10 * sum / kMaxOrder / static_cast<double>(references.size());
}

}  // namespace readback::score
