// Which candidates of a sample came back best, and which worst: what learning from what returned is given.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "readback/base/options.h"
#include "readback/roundtrip/store.h"

namespace readback::roundtrip {

// What candidates may be ranked by besides a run's metrics.
inline constexpr const char* kLikelihood = "likelihood";  // the text's log-probability per token
inline constexpr const char* kRandom = "random";          // chance, the same in each call

// choices.cpp
struct ChoiceOptions {
  std::vector<std::string> by;
  std::vector<std::string> agree;
  int64_t samples = 0, candidates = 0;
  std::optional<double> accept;
  double margin = 0;
  std::optional<double> min_log_probability;

  static constexpr auto options() {
    using O = ChoiceOptions;
    return std::tuple(
        option(&O::by, "by", "What ranks its candidates: metrics, likelihood or random; several by their mean rank"),
        option(&O::agree, "agree", "Metrics by which the chosen candidate must not be worse than the rejected one"),
        option(&O::samples, "samples", "Only the first N samples of a run; 0: all", at_least(0)),
        option(&O::candidates, "candidates", "Only the first N candidates of a sample; 0: all", at_least(0)),
        option(&O::accept, "accept",
               "What the chosen one must reach: a value of the metric, as good or better; of several the mean rank"),
        option(&O::margin, "margin",
               "Least difference of chosen and rejected: the metric's; of several the mean rank's, 0 to 1",
               at_least(0)),
        option(&O::min_log_probability, "min_log_probability",
               "What a chosen text's tokens have on average, at least"));
  }
};

struct Rated {
  int64_t candidate = 0;
  double reward = 0;  // higher is better: a metric's value, negated where lower is better; of several metrics the mean
                      // rank, from 0, worst by all, to 1
};

struct Choice {
  int64_t position = 0;           // of the sample, as in Store::samples()
  std::vector<Rated> candidates;  // those with all values, the best first; equal ones by their numbers
  std::vector<int64_t> chosen;    // numbers of the best, several where they are equally good
  int64_t rejected = -1;          // the worst, less good than these; -1: there is none that differs
};

// What a run teaches, in the order of its samples, and why samples are left out.
struct Choices {
  std::vector<Choice> kept;
  int64_t incomplete = 0;  // fewer than two candidates with all values
  int64_t unlikely = 0;    // no candidate reaches min_log_probability
  int64_t poor = 0;        // the best one is not good enough to accept
  int64_t narrow = 0;      // below the margin
  int64_t disputed = 0;    // another metric disagrees

  std::string summary() const;  // "4,812 of 5,000 samples; 188 below the margin"
};

// By sample and candidate, higher is better: a metric's values, negated where lower is better, likelihood or chance.
// Errors: UsageError for a metric that the run has not measured, StoreError.
using Values = std::map<std::string, std::map<int64_t, double>>;
Values values_by(const Store& store, Direction direction, const std::string& by);

// The distance that ranks where nobody says which: the first that the run measured, without the truth if there is
// another. Errors: UsageError where it has measured none.
std::string default_distance(const Store& store, Direction direction);

// Errors: UsageError (nothing to rank by, or a metric that the run has not measured), StoreError.
Choices choose(const Store& store, Direction direction, const ChoiceOptions& options);

// Writes what was chosen as JSON Lines, a sample each, with pictures' paths relative to the run:
//   {"sample", "image" or "text": what the candidates were made from,
//    "chosen": [{"candidate", "reward", "text" or "image"}, …], "rejected": {…} or null}
// Errors: StoreError.
void export_choices(const Store& store, Direction direction, const Choices& choices, const std::filesystem::path& file);

// 16 hex digits over how a run was made, what it was measured by and how much of it is there: equal for runs that teach
// the same. Errors: StoreError.
std::string content_digest(const Store& store);

}  // namespace readback::roundtrip
