// What is left of a message after each round: arithmetic over values that telephone_drift.h measured.
#pragma once
#include <cstdint>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "readback/roundtrip/direction.h"
#include "readback/score/metric.h"
#include "readback/score/statistics/bootstrap.h"

namespace readback::workflow {

using Rounds = std::vector<std::vector<double>>;  // [round][sample], [0] is round 1

// In rounds, with its 95 % bootstrap interval over samples. NaN: not defined. Infinity: not within the rounds.
struct HalfLife {
  double rounds = std::numeric_limits<double>::quiet_NaN();
  double low = std::numeric_limits<double>::quiet_NaN(), high = std::numeric_limits<double>::quiet_NaN();
};

// A round's lead is how much better its mean is than the mean of random pairs of the same round. The half-life is the
// number of rounds after the first until the lead is for the first time half of the first round's or less, linearly
// interpolated between rounds. Not defined where the first round has no lead. `values` and `floors` have no NaN and the
// same samples.
HalfLife half_life(const Rounds& values, const Rounds& floors, score::Direction better);

// The words of a text that are looked for: what text::ptb_tokens() makes of it, each once and sorted, without English
// articles, conjunctions, forms of "to be", pronouns and the prepositions at, by, for, from, in, of, on, to, with; nor
// tokens without a letter or digit. Words of place ("above", "left", "under") are kept: they are content.
std::vector<std::string> content_words(std::string_view text);

// Share of `words`, which are sorted, that `text` has; NaN when there are none.
double surviving(const std::vector<std::string>& words, std::string_view text);

// A word of the first texts.
struct WordLife {
  std::string word;
  int64_t samples = 0;     // in whose first text it is
  double mean_rounds = 0;  // in which it is there without a gap from round 1 on
  double alive = 0;        // share of the samples in which it is there in every round
};
// The longest-lived first; equal ones by the number of samples, then by the alphabet.
std::vector<WordLife> word_lives(const std::vector<std::string>& first,
                                 const std::vector<std::vector<std::string>>& texts);  // [round][sample]

// One direction, over the samples that came through all rounds.
struct ChainSummary {
  struct Metric {
    score::MetricInfo info;
    Rounds values, floors, steps;  // of all samples; NaN where there is none. steps: against the round before
  };
  roundtrip::Direction direction = roundtrip::Direction::kI2T2I;
  std::vector<std::string> folders;             // of the rounds, relative to telephone.json
  std::vector<int64_t> begun, came_back;        // samples, by round
  std::vector<std::string> samples;             // ids
  std::vector<std::string> first;               // the first caption, or the text that it began with
  std::vector<std::vector<std::string>> texts;  // [round][sample]
  uint64_t seed = 0;                            // of the random pairs of texts
  std::vector<Metric> metrics;
};

// {"direction", "folders": [a run each], "begun": [samples by round], "came_back": […],
//  "metrics": [{"metric", "title", "formula", "better", "samples",
//               "rounds": [{"value": {"mean", "low", "high"}, "floor": {…} or null, "left": share of the first round's
//               lead
//                          or null, "step": {…} or null}, …],
//               "half_life": {"rounds", "low", "high"}, each a number, null (not defined) or "more" (not within the
//               rounds)}, …],
//  "words": [{"word", "samples", "mean_rounds", "alive"}, …],
//  "samples": [{"sample", "words": [share that survives, by round]}, …]}
// The first of "metrics" is "words", the share of content words that survive. Metrics without a value are left out.
nlohmann::ordered_json to_json(const ChainSummary& chain);

}  // namespace readback::workflow
