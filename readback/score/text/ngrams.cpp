#include "readback/score/text/ngrams.h"

#include <algorithm>

namespace readback::score {

namespace {

constexpr uint64_t kHighFactor = 0x9E3779B97F4A7C15, kLowFactor = 0xC2B2AE3D27D4EB4F;  // odd, with mixed bits

uint64_t mix(uint64_t value) {
  value = (value ^ (value >> 32)) * 0xD6E8FEB86659FD93;
  value = (value ^ (value >> 32)) * 0xD6E8FEB86659FD93;
  return value ^ (value >> 32);
}

Ngram append(const Ngram& ngram, uint64_t high, uint64_t low) {
  return {mix(ngram.high * kHighFactor + high), mix(ngram.low * kLowFactor + low)};
}

Ngram hash_word(const std::string& word) {
  uint64_t high = word.size(), low = ~high;
  for (const char c : word) {
    high = (high + static_cast<uint8_t>(c) + 1) * kHighFactor;
    low = (low + static_cast<uint8_t>(c) + 1) * kLowFactor;
    high ^= high >> 29;
    low ^= low >> 31;
  }
  return {mix(high), mix(low)};
}

}  // namespace

NgramCounts count_ngrams(const Tokens& words) {
  std::vector<Ngram> hashes;
  hashes.reserve(words.size());
  for (const std::string& word : words) hashes.push_back(hash_word(word));
  NgramCounts counts;
  counts.reserve(words.size() * kMaxOrder);
  for (size_t begin = 0; begin < words.size(); ++begin) {
    Ngram ngram;
    for (int order = 1; order <= kMaxOrder && begin + order <= words.size(); ++order) {
      const Ngram& word = hashes[begin + order - 1];
      ngram = append(ngram, word.high, word.low);
      counts.push_back({ngram, order, 1});
    }
  }
  std::sort(counts.begin(), counts.end(), [](const NgramCount& a, const NgramCount& b) { return a.ngram < b.ngram; });
  size_t kept = 0;
  for (size_t i = 1; i < counts.size(); ++i) {
    if (counts[i].ngram == counts[kept].ngram) {
      ++counts[kept].count;
    } else {
      counts[++kept] = counts[i];
    }
  }
  if (!counts.empty()) counts.resize(kept + 1);
  return counts;
}

}  // namespace readback::score
