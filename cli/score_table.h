// How the verbs below `readback score` print metrics: for people, and as JSON for scripts.
#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "readback/base/numbers.h"
#include "readback/score/statistics/significance.h"

namespace readback::cli {

// Against a baseline on the same samples.
struct BaselineComparison {
  double baseline = 0;     // its value
  score::PairedTest test;  // value minus baseline's; p_holm is for all lines of the table
};

struct ScoreLine {
  std::string title, formula;
  score::Interval value;                 // `low` and `high` NaN where there is no interval
  std::optional<score::Interval> floor;  // the same metric on random pairs
  std::optional<BaselineComparison> comparison;
  std::vector<std::pair<std::string, score::Interval>> domains;    // by their names
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

nlohmann::ordered_json number(double value);  // NaN becomes null
// {"value": …, "low": …, "high": …, "n": …}; NaN becomes null.
nlohmann::ordered_json to_json(const score::Interval& interval);
// Adds "difference", "p" and "p_holm" to an object.
void add_test(nlohmann::ordered_json& object, const score::PairedTest& test);
std::string counted(int64_t samples);                        // "1 sample", "4,500 samples"
std::string interval_text(const score::Interval& interval);  // "[0.1234, 0.2345]"; empty where there is none
std::string test_text(const score::PairedTest& test);        // "+0.0123 [0.0012, 0.0234] to the baseline, p = …"

// `format` is text or json. Text: a line a metric with its 95 % interval, then the formulas; what is absent goes to
// standard error. JSON: {"metrics": {TITLE: {"value": …, "low": …, "high": …, "n": …, "floor": …, "baseline": …,
// "domains": {NAME: {"value": …, …}}, "formula": …}}, "absent": {NAME: REASON}, "left_out": {"count": …, "of": …,
// "first": [ID, …]}}. In both what is left out is said on standard error.
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
