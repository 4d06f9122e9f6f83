// Runs against each other, sample by sample: what differs between them, and whether it could be chance.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "readback/base/options.h"
#include "readback/roundtrip/role.h"
#include "readback/roundtrip/store.h"
#include "readback/score/statistics/significance.h"

namespace readback::roundtrip {

// Which of a sample's candidates count: kMean the mean over them, kBest the one that `by` finds best, kFirst the first.
enum class CandidateValue { kMean, kBest, kFirst };
constexpr std::array<const char*, 3> names_of(CandidateValue) { return {"mean", "best", "first"}; }

struct CompareOptions {
  std::vector<std::string> metrics;
  CandidateValue candidate = CandidateValue::kMean;
  std::string by;
  int64_t candidates = 0;
  bool by_domain = false;

  static constexpr auto options() {
    using O = CompareOptions;
    return std::tuple(
        option(&O::metrics, "metrics", "Names of metrics; none: all that every run has measured"),
        option(&O::candidate, "candidate",
               "A sample's value: the mean over its candidates, the best one's or the first's"),
        option(&O::by, "by",
               "What finds the best one: a metric, likelihood or random; default: the first distance of the baseline"),
        option(&O::candidates, "candidates", "Only the first N candidates of a sample; 0: all", at_least(0)),
        option(&O::by_domain, "by_domain", "Each domain by itself, too"));
  }
};

struct ComparedRun {
  std::string folder;
  int64_t samples = 0, candidates = 0;
  int64_t alone = 0;  // samples that some other run lacks
};

// Something in which the runs are not alike: an option by its path ("sampling.top_p"), the device, a model's contents.
struct RunDifference {
  std::string name;
  std::vector<std::string> values;  // as JSON, of each run; "absent" where it lacks it
};

struct ComparedMetric {
  Direction direction = Direction::kI2T2I;
  Role role = Role::kDistance;
  score::MetricInfo metric;
  std::string domain;  // empty: all samples
  // Over the samples for which all runs have a value: of each run, and its difference from the baseline, which has
  // none.
  std::vector<score::Interval> values;
  std::vector<std::optional<score::PairedTest>> tests;  // p_holm: for all tests of the comparison
};

struct RunComparison {
  std::vector<ComparedRun> runs;
  size_t baseline = 0;
  std::vector<RunDifference> differences;
  int64_t samples = 0;      // that all runs have
  int64_t other_texts = 0;  // ids that all runs have, with other references
  std::vector<ComparedMetric> metrics;
  std::vector<std::pair<std::string, std::string>> left_out;  // metrics that cannot be compared, and why
  std::vector<std::string> notes;                             // what a reader must know, in sentences
};

// Samples are the same where their ids and references are. Metrics are compared where all runs have them, of the same
// formula and checkpoint. Errors: UsageError (fewer than two runs, a baseline that is none of them, an unknown metric,
// `by` without effect, domains that no sample has), DataError (no sample or no metric that all runs have), StoreError.
RunComparison compare(std::span<const Store> runs, size_t baseline = 0, const CompareOptions& options = {});

struct DisagreeingSide {
  double value = 0;
  int64_t candidate = 0;    // of kMean: the one whose value is nearest to the mean
  std::string text, image;  // its; the picture relative to its run
};

struct Disagreement {
  Direction direction = Direction::kI2T2I;
  std::string sample, domain, prompt;
  std::string original;   // picture relative to the baseline's run; empty where there is none
  double difference = 0;  // other minus baseline
  DisagreeingSide baseline, other;
};

// The samples of which two runs have the most different values of a metric, the widest apart first; at most `top`, and
// none that are equal. Errors: UsageError (a metric that they have not both measured, in the same way), StoreError.
std::vector<Disagreement> disagreements(const Store& baseline, const Store& other, Direction direction,
                                        const std::string& metric, int64_t top, const CompareOptions& options = {});

}  // namespace readback::roundtrip
