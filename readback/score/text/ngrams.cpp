#include "readback/score/text/ngrams.h"

namespace readback::score {

NgramCounts count_ngrams(const Tokens& words) {
  NgramCounts counts;
  for (size_t begin = 0; begin < words.size(); ++begin) {
    std::string key;
    for (int order = 1; order <= kMaxOrder && begin + order <= words.size(); ++order) {
      if (order > 1) key += '\x1f';
      key += words[begin + order - 1];
      ++counts.try_emplace(key, Ngram{order, 0}).first->second.count;
    }
  }
  return counts;
}

}  // namespace readback::score
