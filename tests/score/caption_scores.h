// All text metrics of a set of captions, from tokens, as the COCO caption evaluation computes them.
#pragma once
#include <array>
#include <string>
#include <vector>

#include "readback/score/text/bleu.h"
#include "readback/score/text/cider.h"
#include "readback/score/text/rouge.h"
#include "readback/text/ptb_tokenizer.h"

namespace readback::score::testing {

struct CaptionScores {
  std::vector<std::array<double, kMaxOrder>> sentence_bleu;
  std::array<double, kMaxOrder> corpus_bleu;
  std::vector<double> rouge, cider, plain_cider;
};

inline double mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

inline CaptionScores score_tokens(const std::vector<Tokens>& candidates,
                                  const std::vector<std::vector<Tokens>>& references) {
  std::vector<std::vector<Tokens>> reference_words(references.size());
  DocumentFrequencies frequencies;
  for (size_t i = 0; i < references.size(); ++i) {
    for (const Tokens& tokens : references[i]) reference_words[i].push_back(split_tokens(tokens));
    frequencies.add(reference_words[i]);
  }
  CaptionScores scores;
  BleuCounts corpus;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const Tokens words = split_tokens(candidates[i]);
    const BleuCounts counts = count_bleu(words, reference_words[i]);
    corpus += counts;
    scores.sentence_bleu.push_back(bleu(counts));
    scores.rouge.push_back(rouge_l(candidates[i], references[i]));
    scores.cider.push_back(cider(words, reference_words[i], frequencies, CiderVariant::kD));
    scores.plain_cider.push_back(cider(words, reference_words[i], frequencies, CiderVariant::kPlain));
  }
  scores.corpus_bleu = bleu(corpus);
  return scores;
}

// Captions, tokenized as pycocoevalcap does: all references at once, all candidates at once.
inline CaptionScores score_captions(const std::vector<std::string>& candidates,
                                    const std::vector<std::vector<std::string>>& references) {
  std::vector<std::string> all;
  for (const auto& list : references) all.insert(all.end(), list.begin(), list.end());
  const auto tokens = text::ptb_tokens(all);
  std::vector<std::vector<Tokens>> reference_tokens;
  auto next = tokens.begin();
  for (const auto& list : references) {
    reference_tokens.emplace_back(next, next + static_cast<std::ptrdiff_t>(list.size()));
    next += static_cast<std::ptrdiff_t>(list.size());
  }
  return score_tokens(text::ptb_tokens(candidates), reference_tokens);
}

}  // namespace readback::score::testing
