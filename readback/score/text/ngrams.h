// Counts of n-grams, the common ground of BLEU and CIDEr.
#pragma once
#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "readback/score/text/words.h"

namespace readback::score {

inline constexpr int kMaxOrder = 4;

// One to four words, as a 128-bit hash of them: the same on every machine, and of a million different n-grams two are
// taken for one another with a chance of 10^-27.
struct Ngram {
  uint64_t high = 0, low = 0;
  auto operator<=>(const Ngram&) const = default;
};

struct NgramCount {
  Ngram ngram;
  int order;  // 1 … kMaxOrder
  int64_t count;
};

// Every n-gram of the words once, in the order of the hashes.
using NgramCounts = std::vector<NgramCount>;
NgramCounts count_ngrams(const Tokens& words);

// Calls visit(i, j) for every n-gram that is a[i] and b[j].
template <typename Visit>
void for_common_ngrams(const NgramCounts& a, const NgramCounts& b, const Visit& visit) {
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    const auto order = a[i].ngram <=> b[j].ngram;
    if (order == 0) visit(i, j);
    i += order <= 0;
    j += order >= 0;
  }
}

}  // namespace readback::score
