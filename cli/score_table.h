// How the verbs below `readback score` print metrics: for people, and as JSON for scripts.
#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "readback/base/numbers.h"
#include "readback/score/statistics/bootstrap.h"

namespace readback::cli {

// Against a baseline on the same samples.
struct BaselineComparison {
  double baseline = 0;         // its value
  score::Interval difference;  // value minus baseline's, bootstrap by pairs
  double p = 0, p_holm = 0;    // paired permutation test; the latter corrected for all lines of the table
};

struct ScoreLine {
  std::string title, formula;
  score::Interval value;                 // `low` and `high` NaN where there is no interval
  std::optional<score::Interval> floor;  // the same metric on random pairs
  std::optional<BaselineComparison> comparison;
  nlohmann::ordered_json more = nlohmann::ordered_json::object();  // further fields of the JSON
};

// Ids that only one side has, left out by --allow-missing.
struct LeftOut {
  std::vector<std::string> ids;
  int64_t of = 0;  // how many ids there are with them
};

template <typename Matched>
LeftOut left_out(const Matched& samples) {
  return {samples.left_out, static_cast<int64_t>(samples.ids.size() + samples.left_out.size())};
}

struct ScoreTable {
  std::string what;  // "5,000 captions, 25,010 references"
  std::vector<ScoreLine> lines;
  std::vector<std::pair<std::string, std::string>> absent;  // metric, reason
  LeftOut left_out;
};

// {"value": …, "low": …, "high": …, "n": …}; NaN becomes null.
nlohmann::ordered_json to_json(const score::Interval& interval);

// `format` is text or json. Text: a line a metric with its 95 % interval, then the formulas; what is absent goes to
// standard error. JSON: {"metrics": {TITLE: {"value": …, "low": …, "high": …, "n": …, "floor": …, "baseline": …,
// "formula": …}}, "absent": {NAME: REASON}, "left_out": {"count": …, "of": …, "first": [ID, …]}}. In both what is left
// out is said on standard error.
void print_scores(const ScoreTable& table, const std::string& format);

// How many values are NaN. Where there are any, says on standard error that they are left out.
int64_t note_undefined(const std::string& title, std::span<const double> values, const char* what = "samples");

// One JSON object a sample: {"id": …, TITLE: value, …}.
struct SampleColumn {
  std::string title;
  const std::vector<double>* values;
};
void write_samples(const std::string& path, const std::vector<std::string>& ids,
                   const std::vector<SampleColumn>& columns);

}  // namespace readback::cli
