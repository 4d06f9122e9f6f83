#include "readback/roundtrip/compare.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "readback/base/error.h"
#include "readback/base/options_difference.h"
#include "readback/base/options_json.h"
#include "readback/roundtrip/choices.h"
#include "readback/roundtrip/curves.h"
#include "readback/roundtrip/options.h"

namespace readback::roundtrip {

using nlohmann::json;
using score::MetricInfo;

namespace {

struct Valued {
  double value = 0;
  int64_t candidate = 0;
};
using BySample = std::map<std::string, Valued>;
using Candidates = std::map<int64_t, double>;

int64_t best_of(const Candidates& rewards) {
  return std::ranges::max_element(rewards, {}, [](const auto& entry) { return entry.second; })->first;
}

int64_t nearest_to(double value, const Candidates& values) {
  return std::ranges::min_element(values, {}, [&](const auto& entry) { return std::abs(entry.second - value); })->first;
}

// A value for each sample that has one.
BySample sample_values(const Store& store, Direction direction, const std::string& metric,
                       const CompareOptions& options, const std::string& by) {
  const auto counts = [&](int64_t candidate) { return options.candidates == 0 || candidate < options.candidates; };
  std::map<std::string, Candidates> measured;
  for (const ScoreRow& row : store.scores(direction, metric)) {
    if (row.value && counts(row.key.candidate)) measured[row.key.sample][row.key.candidate] = *row.value;
  }
  Values rewards;
  if (options.candidate == CandidateValue::kBest) rewards = values_by(store, direction, by);
  BySample result;
  for (const auto& [sample, values] : measured) {
    if (options.candidate == CandidateValue::kMean) {
      double sum = 0;
      for (const auto& [candidate, value] : values) sum += value;
      const double mean = sum / static_cast<double>(values.size());
      result[sample] = {mean, nearest_to(mean, values)};
      continue;
    }
    int64_t chosen = 0;
    if (options.candidate == CandidateValue::kBest) {
      Candidates own = rewards[sample];
      std::erase_if(own, [&](const auto& entry) { return !counts(entry.first); });
      if (own.empty()) continue;
      chosen = best_of(own);
    }
    if (const auto value = values.find(chosen); value != values.end()) result[sample] = {value->second, chosen};
  }
  return result;
}

std::string found_by(const Store& baseline, Direction direction, const CompareOptions& options) {
  if (options.candidate != CandidateValue::kBest || !options.by.empty()) return options.by;
  return default_distance(baseline, direction);
}

const MetricInfo* find(const std::vector<MetricInfo>& metrics, const std::string& name) {
  const auto found = std::ranges::find(metrics, name, &MetricInfo::name);
  return found == metrics.end() ? nullptr : &*found;
}

void check(const CompareOptions& options) {
  check_options(options);
  if (!options.by.empty() && options.candidate != CandidateValue::kBest) {
    throw UsageError(describe("by", "candidate to be best, since it finds the best one", name_of(options.candidate)));
  }
}

// Why a run's values of a metric cannot be compared with the baseline's; empty where they can.
std::string why_not(const MetricInfo& baseline, const MetricInfo* other, const Store& run) {
  const std::string folder = run.folder().string();
  if (other == nullptr) return folder + " has not measured it";
  if (other->checkpoint != baseline.checkpoint) {
    return fmt::format("{} measured it by {}, the baseline by {}", folder, other->checkpoint, baseline.checkpoint);
  }
  if (other->formula != baseline.formula || other->direction != baseline.direction) {
    return fmt::format("{} measured \"{}\", the baseline \"{}\"", folder, other->formula, baseline.formula);
  }
  return "";
}

class Comparer {
 public:
  Comparer(std::span<const Store> runs, size_t baseline, const CompareOptions& options)
      : runs_(runs), options_(options) {
    check(options);
    if (runs.size() < 2) throw UsageError(describe("runs to compare", "two or more", std::to_string(runs.size())));
    if (baseline >= runs.size()) {
      throw UsageError(
          describe("baseline", fmt::format("a run from 0 to {}", runs.size() - 1), std::to_string(baseline)));
    }
    result_.baseline = baseline;
  }

  RunComparison run() {
    match_samples();
    list_differences();
    const std::vector<MetricInfo> metrics = common_metrics();
    std::vector<std::string> groups = {""};
    if (options_.by_domain) {
      const std::vector<std::string> names = domains(samples_);
      if (names.empty()) throw UsageError(describe("by_domain", "samples of several domains", "none"));
      groups.insert(groups.end(), names.begin(), names.end());
    }
    for (const Direction direction : base().directions()) {
      if (std::ranges::all_of(runs_, [&](const Store& run) { return has(run, direction); })) {
        for (const MetricInfo& metric : metrics) add(direction, metric, groups);
      }
    }
    if (result_.metrics.empty()) fail_without_metrics();
    correct();
    return std::move(result_);
  }

 private:
  const Store& base() const { return runs_[result_.baseline]; }
  static bool has(const Store& run, Direction direction) {
    return std::ranges::find(run.directions(), direction) != run.directions().end();
  }

  void match_samples() {
    std::vector<std::map<std::string, SampleRow>> rows;
    for (const Store& run : runs_) {
      std::map<std::string, SampleRow>& own = rows.emplace_back();
      for (SampleRow& row : run.samples()) own.emplace(row.id, std::move(row));
    }
    for (SampleRow& sample : base().samples()) {
      bool everywhere = true, alike = true;
      for (const auto& own : rows) {
        const auto found = own.find(sample.id);
        everywhere = everywhere && found != own.end();
        if (found == own.end()) continue;
        alike = alike && found->second.references == sample.references;
        if (sample.domain.empty()) sample.domain = found->second.domain;
      }
      if (everywhere && !alike) ++result_.other_texts;
      if (everywhere && alike) samples_.push_back(std::move(sample));
    }
    result_.samples = std::ssize(samples_);
    for (size_t i = 0; i < runs_.size(); ++i) {
      const int64_t own = std::ssize(rows[i]);
      result_.runs.push_back({runs_[i].folder().string(), own, runs_[i].num_candidates(), own - result_.samples});
    }
    if (samples_.empty()) {
      throw DataError(describe(fmt::format("{} runs", runs_.size()), "samples that all of them have",
                               result_.other_texts > 0
                                   ? fmt::format("{} of the same ids with other references", result_.other_texts)
                                   : "none",
                               "Compare runs over the same data set"));
    }
  }

  void list_differences() {
    const json defaults = options_identity(resolve(RunOptions(), {}, {}));
    std::map<std::string, size_t> rows;
    const auto add = [&](const std::string& prefix, const json& before, const json& now, size_t run,
                         const json& known = json::object()) {
      for (const auto& [name, base, other] : option_differences(before, now, known)) {
        const std::string full = prefix + (name.empty() ? "options" : name);
        const auto [found, added] = rows.try_emplace(full, result_.differences.size());
        if (added) result_.differences.push_back({full, std::vector<std::string>(runs_.size(), base)});
        result_.differences[found->second].values[run] = other;
      }
    };
    const Manifest& ours = base().manifest();
    const auto machine = [](const Manifest& manifest) {
      return json{{"device", manifest.device}, {"results_version", manifest.results_version}};
    };
    for (size_t i = 0; i < runs_.size(); ++i) {
      const Manifest& theirs = runs_[i].manifest();
      add("", ours.options, theirs.options, i, defaults);
      add("", machine(ours), machine(theirs), i);
      add("contents of the ", ours.digests, theirs.digests, i);
    }
  }

  // In the baseline's order; what others lack, or measure otherwise, is left out and said.
  std::vector<MetricInfo> common_metrics() {
    std::vector<MetricInfo> common;
    std::vector<std::vector<MetricInfo>> measured;
    for (const Store& run : runs_) measured.push_back(run.metrics());
    std::set<std::string> names;
    for (const auto& own : measured) {
      for (const MetricInfo& metric : own) names.insert(metric.name);
    }
    for (const std::string& name : options_.metrics) {
      if (!names.contains(name)) {
        throw UsageError(describe("metrics", fmt::format("some of {}", fmt::join(names, ", ")), "\"" + name + "\""));
      }
    }
    const auto wanted = [&](const std::string& name) {
      return options_.metrics.empty() || std::ranges::find(options_.metrics, name) != options_.metrics.end();
    };
    for (const MetricInfo& metric : measured[result_.baseline]) {
      if (!wanted(metric.name) || !names.erase(metric.name)) continue;
      std::string why;
      for (size_t i = 0; i < runs_.size() && why.empty(); ++i) {
        why = why_not(metric, find(measured[i], metric.name), runs_[i]);
      }
      if (why.empty()) {
        common.push_back(metric);
      } else {
        result_.left_out.emplace_back(metric.name, why);
      }
    }
    for (const std::string& name : names) {
      if (wanted(name)) result_.left_out.emplace_back(name, base().folder().string() + " has not measured it");
    }
    const bool cider = std::ranges::any_of(common, [](const MetricInfo& m) { return m.name.starts_with("cider"); });
    if (cider && std::ranges::any_of(result_.runs, [](const ComparedRun& run) { return run.alone > 0; })) {
      result_.notes.emplace_back(
          "CIDEr takes the document frequencies of all samples of its run, and the runs have other samples.");
    }
    return common;
  }

  void add(Direction direction, const MetricInfo& metric, const std::vector<std::string>& groups) {
    std::vector<BySample> values;
    const std::string by = found_by(base(), direction, options_);
    for (const Store& run : runs_) values.push_back(sample_values(run, direction, metric.name, options_, by));
    for (const std::string& domain : groups) {
      std::vector<std::vector<double>> columns(runs_.size());
      for (const SampleRow& sample : samples_) {
        if (!domain.empty() && sample.domain != domain) continue;
        if (!std::ranges::all_of(values, [&](const BySample& own) { return own.contains(sample.id); })) continue;
        for (size_t i = 0; i < runs_.size(); ++i) columns[i].push_back(values[i].at(sample.id).value);
      }
      if (columns.front().empty()) continue;
      result_.metrics.push_back(tested(direction, metric, domain, columns));
    }
  }

  ComparedMetric tested(Direction direction, const MetricInfo& metric, const std::string& domain,
                        const std::vector<std::vector<double>>& columns) const {
    ComparedMetric row{direction, role(direction, metric.inputs), metric, domain, {}, {}};
    const score::Aggregate baseline = score::aggregate_means({columns[result_.baseline]});
    for (size_t i = 0; i < runs_.size(); ++i) {
      row.values.push_back(score::bootstrap_mean(columns[i]));
      row.tests.emplace_back();
      if (i == result_.baseline) continue;
      const score::Aggregate own = score::aggregate_means({columns[i]});
      row.tests.back() = score::PairedTest{score::paired_difference(own, baseline).front(),
                                           score::paired_permutation(own, baseline).front()};
    }
    return row;
  }

  void correct() {
    std::vector<score::PairedTest*> tests;
    std::vector<double> p;
    for (ComparedMetric& row : result_.metrics) {
      for (auto& test : row.tests) {
        if (!test) continue;
        tests.push_back(&*test);
        p.push_back(test->p);
      }
    }
    const std::vector<double> corrected = score::holm(p);
    for (size_t i = 0; i < tests.size(); ++i) tests[i]->p_holm = corrected[i];
  }

  [[noreturn]] void fail_without_metrics() const {
    std::string got = "none with values of the same samples";
    if (!result_.left_out.empty()) {
      got.clear();
      for (const auto& [metric, why] : result_.left_out)
        got += fmt::format("{}{}: {}", got.empty() ? "" : "; ", metric, why);
    }
    throw DataError(describe(fmt::format("{} runs", runs_.size()), "a direction and a metric that all of them have",
                             got, "Measure the same in each: readback run with the option metrics goes on with a run"));
  }

  std::span<const Store> runs_;
  CompareOptions options_;
  RunComparison result_;
  std::vector<SampleRow> samples_;  // that all runs have, in the baseline's order
};

DisagreeingSide side(const Store& run, Direction direction, const std::string& sample, const Valued& valued) {
  DisagreeingSide result{valued.value, valued.candidate, "", ""};
  for (const CandidateRow& row : run.candidates(direction, sample)) {
    if (row.key.candidate != valued.candidate) continue;
    result.text = row.text.value_or("");
    result.image = row.image.value_or("");
  }
  return result;
}

}  // namespace

RunComparison compare(std::span<const Store> runs, size_t baseline, const CompareOptions& options) {
  return Comparer(runs, baseline, options).run();
}

std::vector<Disagreement> disagreements(const Store& baseline, const Store& other, Direction direction,
                                        const std::string& metric, int64_t top, const CompareOptions& options) {
  check(options);
  for (const Store* run : {&baseline, &other}) {
    const std::vector<MetricInfo> measured = run->metrics();
    if (find(measured, metric) != nullptr) continue;
    std::vector<std::string> names;
    for (const MetricInfo& info : measured) names.push_back(info.name);
    throw UsageError(describe(run->folder().string() + ", metric to disagree by",
                              fmt::format("one of {}", fmt::join(names, ", ")), "\"" + metric + "\""));
  }
  const std::vector<MetricInfo> own_metrics = baseline.metrics(), other_metrics = other.metrics();
  if (const std::string why = why_not(*find(own_metrics, metric), find(other_metrics, metric), other); !why.empty()) {
    throw UsageError(describe("metric to disagree by", "one that both runs measured alike", metric + ": " + why));
  }
  const std::string by = found_by(baseline, direction, options);
  const BySample ours = sample_values(baseline, direction, metric, options, by),
                 theirs = sample_values(other, direction, metric, options, by);
  std::map<std::string, SampleRow> others;
  for (SampleRow& row : other.samples()) others.emplace(row.id, std::move(row));
  std::vector<Disagreement> result;
  for (const SampleRow& sample : baseline.samples()) {
    const auto found = others.find(sample.id);
    if (found == others.end() || found->second.references != sample.references) continue;
    const auto own = ours.find(sample.id), their = theirs.find(sample.id);
    if (own == ours.end() || their == theirs.end() || own->second.value == their->second.value) continue;
    result.push_back({direction,
                      sample.id,
                      sample.domain.empty() ? found->second.domain : sample.domain,
                      sample.prompt(),
                      sample.image,
                      their->second.value - own->second.value,
                      {},
                      {}});
  }
  std::ranges::stable_sort(result, std::greater{}, [](const Disagreement& row) { return std::abs(row.difference); });
  if (std::ssize(result) > top) result.resize(static_cast<size_t>(std::max<int64_t>(0, top)));
  for (Disagreement& row : result) {
    row.baseline = side(baseline, direction, row.sample, ours.at(row.sample));
    row.other = side(other, direction, row.sample, theirs.at(row.sample));
  }
  return result;
}

}  // namespace readback::roundtrip
