// Counts of n-grams, the common ground of BLEU and CIDEr.
#pragma once
#include <cstdint>
#include <string>
#include <unordered_map>

#include "readback/score/text/words.h"

namespace readback::score {

inline constexpr int kMaxOrder = 4;

struct Ngram {
  int order;  // 1 … kMaxOrder
  int64_t count;
};

// Key: the words joined by a unit separator (0x1F).
using NgramCounts = std::unordered_map<std::string, Ngram>;
NgramCounts count_ngrams(const Tokens& words);

}  // namespace readback::score
