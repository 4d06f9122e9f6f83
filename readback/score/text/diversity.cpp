#include "readback/score/text/diversity.h"

#include <cmath>
#include <map>
#include <set>

#include "readback/score/text/ngrams.h"
#include "readback/score/text/words.h"
#include "readback/text/ptb_tokenizer.h"

namespace readback::score {

namespace {

double share(size_t distinct, int64_t all) {
  return all > 0 ? static_cast<double>(distinct) / static_cast<double>(all) : 0.0;
}

}  // namespace

TextDiversity text_diversity(std::span<const std::string> texts) {
  std::map<Ngram, int64_t> counts[2];
  int64_t all[2] = {};
  for (const std::string& text : texts) {
    for (const NgramCount& count : count_ngrams(split_tokens(text::ptb_tokens(text)))) {
      if (count.order > 2) continue;
      counts[count.order - 1][count.ngram] += count.count;
      all[count.order - 1] += count.count;
    }
  }
  TextDiversity diversity{.distinct_1 = share(counts[0].size(), all[0]), .distinct_2 = share(counts[1].size(), all[1])};
  for (const auto& [ngram, count] : counts[1]) {
    const double p = static_cast<double>(count) / static_cast<double>(all[1]);
    diversity.entropy_2 -= p * std::log2(p);
  }
  diversity.distinct_texts = share(std::set(texts.begin(), texts.end()).size(), std::ssize(texts));
  return diversity;
}

}  // namespace readback::score
