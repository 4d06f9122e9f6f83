// METEOR 1.5 for English, equal to meteor-1.5.jar with `-l en -norm` (Denkowski and Lavie, WMT 2014): the weighted
// harmonic mean of precision and recall of aligned words, less a penalty for fragmentation.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "readback/score/text/meteor/aligner.h"
#include "readback/score/text/meteor/lexicon.h"

namespace readback::score {

// What METEOR counts, in words, of hypothesis and reference.
struct MeteorSide {
  int64_t length = 0, function_words = 0;
  std::array<int64_t, kMeteorStages> content_matches{}, function_matches{};
  int64_t matches() const;
  MeteorSide& operator+=(const MeteorSide& other);
};

struct MeteorStatistics {
  MeteorSide hypothesis, reference;
  int64_t chunks = 0;
  bool is_one_chunk() const;  // all words of both sides lie in one chunk: no penalty
  // Sums give the corpus score. A pair that is one chunk adds none, as in the jar.
  MeteorStatistics& operator+=(const MeteorStatistics& other);
};

struct MeteorScore {
  double score = 0;
  MeteorStatistics statistics;  // of the reference that scored best, the first of equals
};

// In [0, 1]; 0 where either side has no words.
double meteor(const MeteorStatistics& statistics);
double corpus_meteor(std::span<const MeteorStatistics> sentences);

// Remembers the words it has seen. One for each thread; the tables may be shared.
class Meteor {
 public:
  explicit Meteor(std::shared_ptr<const MeteorTables> tables) : lexicon_(std::move(tables)) {}
  // Texts are PTB tokens between blanks, as pycocoevalcap hands them to the jar; METEOR normalises them on top.
  // Errors: DataError without references or when the tables are damaged.
  MeteorScore score(std::string_view hypothesis, std::span<const std::string> references);

 private:
  MeteorLexicon lexicon_;
  MeteorAligner aligner_;
};

}  // namespace readback::score
