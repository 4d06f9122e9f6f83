// The Word Mover's Distance (Kusner et al., ICML 2015, https://proceedings.mlr.press/v37/kusnerb15.html): how far the
// words of one text have to travel, on average, to become those of the other.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <unordered_map>

#include "readback/score/metric.h"
#include "readback/score/text/word_vectors.h"
#include "readback/score/text/words.h"

namespace readback::score {

enum class WmdWords {
  kBlanks,  // lower case, between blanks, as the paper's code: "dog." is no word that GloVe knows
  kPtb,     // Penn Treebank tokens, lower case
};

struct WmdOptions {
  WmdWords words = WmdWords::kBlanks;
  bool keep_stop_words = false;  // otherwise without NLTK's 179 English ones (of 2017 to 2023)
  bool normalize = true;         // word vectors to unit length, as gensim 4's wmdistance(norm=True)
};

// Above it a text is no caption, and the exact answer would take minutes.
inline constexpr size_t kMostWmdWords = 4000;  // different ones on a side

class WordMover {
 public:
  explicit WordMover(std::shared_ptr<const WordVectors> vectors, const WmdOptions& options = {})
      : vectors_(std::move(vectors)), options_(options) {}

  // Euclidean distance averaged over the cheapest plan, each word weighing its share of its text. Words without a
  // vector count for nothing. NaN when a side has no words left (gensim says infinity) or, once what both share is
  // taken out, more than kMostWmdWords different ones. Errors: Interrupted.
  double distance(const std::string& a, const std::string& b, const Context& context = {});

  // The words of `text` that count, whether or not they have vectors.
  Tokens words(const std::string& text) const;

 private:
  struct Bag {
    std::map<std::string, int64_t> counts;  // of words with a vector
    int64_t total = 0;
  };
  Bag bag(const std::string& text);
  const std::vector<double>& vector(const std::string& word);  // empty: none

  std::shared_ptr<const WordVectors> vectors_;
  WmdOptions options_;
  std::unordered_map<std::string, std::vector<double>> seen_;  // empty for words without a vector
};

// Candidate text against original text. NaN where the original is empty and where distance() says so.
std::unique_ptr<Metric> make_wmd_metric(MetricInfo info, std::shared_ptr<const WordVectors> vectors,
                                        const WmdOptions& options = {});

}  // namespace readback::score
