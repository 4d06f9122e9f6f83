#include "readback/roundtrip/curves.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <set>

#include "readback/score/set_metrics.h"
#include "readback/score/statistics/correlation.h"

namespace readback::roundtrip {

using nlohmann::json;
using score::Interval;
using score::MetricInfo;

namespace {

using Values = std::map<std::string, std::vector<double>>;  // sample → one value a candidate

// Samples with a value for each of their candidates; others are left out.
Values complete_values(const Store& store, Direction direction, const std::string& metric) {
  Values values;
  for (const ScoreRow& row : store.scores(direction, metric)) {
    if (row.value) values[row.key.sample].push_back(*row.value);
  }
  const size_t expected = static_cast<size_t>(store.num_candidates());
  std::erase_if(values, [&](const auto& entry) { return entry.second.size() != expected; });
  return values;
}

// +1 when higher is better, -1 when lower is.
double sign(const MetricInfo& metric) { return metric.direction == score::Direction::kHigherIsBetter ? 1 : -1; }

// Candidate indices, the best first.
std::vector<int64_t> order(const std::vector<double>& values, double sign) {
  std::vector<int64_t> indices(values.size());
  std::iota(indices.begin(), indices.end(), int64_t{0});
  std::stable_sort(indices.begin(), indices.end(),
                   [&](int64_t a, int64_t b) { return sign * values[a] > sign * values[b]; });
  return indices;
}

// A direction's samples, in the data set's order.
struct Samples {
  std::vector<SampleRow> rows;
  std::set<std::string> flagged;  // with a picture that the safety checker blanked
};

std::vector<SampleRow> samples_of(const Store& store, const std::string& domain) {
  std::vector<SampleRow> rows = store.samples();
  if (!domain.empty()) std::erase_if(rows, [&](const SampleRow& row) { return row.domain != domain; });
  return rows;
}

// Whether a row's sample belongs to a domain, if one is asked for.
class Belongs {
 public:
  Belongs(const Store& store, const std::string& domain) : all_(domain.empty()) {
    if (all_) return;
    for (const SampleRow& row : samples_of(store, domain)) ids_.insert(row.id);
  }
  bool operator()(const std::string& sample) const { return all_ || ids_.contains(sample); }

 private:
  bool all_;
  std::set<std::string> ids_;
};

RankCurve rank_curve(const Samples& samples, Direction direction, const MetricInfo& distance, const MetricInfo& quality,
                     const Values& distances, const Values& qualities) {
  RankCurve curve;
  curve.direction = direction;
  curve.distance = distance;
  curve.quality = quality;
  const size_t candidates = distances.begin()->second.size();
  std::vector<std::vector<double>> columns(candidates + 1);  // the last: rank 0 minus the last rank
  std::vector<double> nearness, goodness, spearmans, kendalls;
  for (const SampleRow& sample : samples.rows) {
    const auto d = distances.find(sample.id), q = qualities.find(sample.id);
    if (d == distances.end() || q == qualities.end()) {
      ++curve.left_out;
      curve.flagged += samples.flagged.contains(sample.id);
      continue;
    }
    const std::vector<int64_t> ranked = order(d->second, sign(distance));
    for (size_t rank = 0; rank < candidates; ++rank) columns[rank].push_back(q->second[ranked[rank]]);
    columns[candidates].push_back(columns[0].back() - columns[candidates - 1].back());
    std::vector<double> near, good;
    for (double value : d->second) near.push_back(sign(distance) * value);
    for (double value : q->second) good.push_back(sign(quality) * value);
    if (const double correlation = score::spearman(near, good); !std::isnan(correlation)) {
      spearmans.push_back(correlation);
      kendalls.push_back(score::kendall_tau_b(near, good));
    }
    nearness.insert(nearness.end(), near.begin(), near.end());
    goodness.insert(goodness.end(), good.begin(), good.end());
  }
  curve.ranks = score::bootstrap_means(columns);
  curve.difference = curve.ranks.back();
  curve.ranks.pop_back();
  curve.spearman = score::spearman(nearness, goodness);
  curve.kendall = score::kendall_tau_b(nearness, goodness);
  curve.spearman_within = score::bootstrap_mean(spearmans);
  curve.kendall_within = score::bootstrap_mean(kendalls);
  curve.samples = static_cast<int64_t>(columns.front().size());
  return curve;
}

// A value of the whole set has no interval and no correlation over candidates.
RankCurve set_rank_curve(const SetCurve& set, const MetricInfo& distance) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  RankCurve curve{set.direction, distance, score::set_metrics().front()};
  curve.quality.checkpoint = set.checkpoint;
  for (const double value : set.ranks) curve.ranks.push_back({value, kNone, kNone, set.samples});
  curve.difference = {set.ranks.front() - set.ranks.back(), kNone, kNone, set.samples};
  curve.spearman = curve.kendall = kNone;
  curve.samples = set.samples;
  return curve;
}

// NaN has no place in JSON.
json number(double value) { return std::isnan(value) ? json() : json(value); }

json to_json(const Interval& interval) {
  return {{"mean", number(interval.mean)},
          {"low", number(interval.low)},
          {"high", number(interval.high)},
          {"samples", interval.count}};
}

json to_json(const std::vector<MetricSummary>& summaries) {
  json rows = json::array();
  for (const MetricSummary& summary : summaries) {
    rows.push_back({{"direction", name(summary.direction)},
                    {"role", summary.role == Role::kDistance ? "distance" : "quality"},
                    {"metric", summary.metric.name},
                    {"title", summary.metric.title},
                    {"formula", summary.metric.formula},
                    {"checkpoint", summary.metric.checkpoint},
                    {"mean", to_json(summary.mean)},
                    {"floor", to_json(summary.floor)}});
    if (summary.ceiling.count > 0) rows.back()["ceiling"] = to_json(summary.ceiling);
  }
  return rows;
}

json to_json(const std::vector<RankCurve>& curves) {
  json plots = json::array();
  for (const RankCurve& curve : curves) {
    json ranks = json::array();
    for (const Interval& rank : curve.ranks) ranks.push_back(to_json(rank));
    plots.push_back({{"direction", name(curve.direction)},
                     {"distance", curve.distance.name},
                     {"quality", curve.quality.name},
                     {"ranks", ranks},
                     {"difference", to_json(curve.difference)},
                     {"spearman", number(curve.spearman)},
                     {"kendall", number(curve.kendall)},
                     {"spearman_within", to_json(curve.spearman_within)},
                     {"kendall_within", to_json(curve.kendall_within)},
                     {"samples", curve.samples},
                     {"left_out", curve.left_out},
                     {"left_out_flagged", curve.flagged}});
  }
  return plots;
}

}  // namespace

std::map<std::string, double> sample_means(const Store& store, Direction direction, const std::string& metric) {
  std::map<std::string, std::vector<double>> values;
  for (const ScoreRow& row : store.scores(direction, metric)) {
    if (row.value) values[row.key.sample].push_back(*row.value);
  }
  std::map<std::string, double> means;
  for (const auto& [sample, scores] : values) means[sample] = score::mean(scores);
  return means;
}

std::vector<std::string> domains(std::span<const SampleRow> samples) {
  std::vector<std::string> names;
  bool without = false;
  for (const SampleRow& row : samples) {
    without = without || row.domain.empty();
    if (!row.domain.empty() && std::ranges::find(names, row.domain) == names.end()) names.push_back(row.domain);
  }
  if (names.size() == 1 && !without) names.clear();
  return names;
}

std::vector<MetricSummary> summarize(const Store& store, const std::string& domain) {
  const Belongs belongs(store, domain);
  std::vector<MetricSummary> summaries;
  for (Direction direction : store.directions()) {
    for (const MetricInfo& metric : store.metrics()) {
      std::vector<double> means, floors, ceilings;
      for (const auto& [sample, value] : sample_means(store, direction, metric.name)) {
        if (belongs(sample)) means.push_back(value);
      }
      for (const FloorRow& row : store.floors(direction, metric.name)) {
        if (row.value && belongs(row.key.sample)) floors.push_back(*row.value);
      }
      if (direction == Direction::kI2T2I) {
        for (const CeilingRow& row : store.ceilings(metric.name)) {
          if (row.value && belongs(row.sample)) ceilings.push_back(*row.value);
        }
      }
      if (means.empty()) continue;
      summaries.push_back({direction, role(direction, metric.inputs), metric, score::bootstrap_mean(means),
                           score::bootstrap_mean(floors), score::bootstrap_mean(ceilings)});
    }
  }
  return summaries;
}

std::vector<Ranking> rankings(const Store& store, Direction direction, const std::string& distance) {
  std::vector<Ranking> result;
  const auto metrics = store.metrics();
  const auto metric = std::ranges::find(metrics, distance, &MetricInfo::name);
  if (metric == metrics.end()) return result;
  const Values values = complete_values(store, direction, distance);
  for (const SampleRow& sample : store.samples()) {
    const auto found = values.find(sample.id);
    if (found == values.end()) continue;
    Ranking ranking{sample.id, order(found->second, sign(*metric)), {}};
    for (int64_t candidate : ranking.candidates) ranking.distances.push_back(found->second[candidate]);
    result.push_back(std::move(ranking));
  }
  return result;
}

std::vector<RankCurve> rank_curves(const Store& store, const std::string& domain) {
  std::vector<RankCurve> curves;
  const std::vector<MetricInfo> metrics = store.metrics();
  const Belongs belongs(store, domain);
  Samples samples{samples_of(store, domain), {}};
  for (Direction direction : store.directions()) {
    samples.flagged.clear();
    for (const CandidateKey& key : store.flagged(direction)) samples.flagged.insert(key.sample);
    std::map<std::string, Values> values;
    for (const MetricInfo& metric : metrics) {
      Values& own = values[metric.name] = complete_values(store, direction, metric.name);
      std::erase_if(own, [&](const auto& entry) { return !belongs(entry.first); });
    }
    for (const MetricInfo& distance : metrics) {
      if (role(direction, distance.inputs) != Role::kDistance || values[distance.name].empty()) continue;
      for (const MetricInfo& quality : metrics) {
        if (role(direction, quality.inputs) != Role::kQuality || values[quality.name].empty()) continue;
        curves.push_back(
            rank_curve(samples, direction, distance, quality, values[distance.name], values[quality.name]));
      }
    }
  }
  if (!domain.empty()) return curves;
  for (const SetCurve& set : store.set_curves()) {
    const auto distance = std::ranges::find(metrics, set.distance, &MetricInfo::name);
    if (distance == metrics.end()) continue;
    // A set with more samples than can be ranked is an earlier version's, which took blanked pictures in.
    const size_t ranked = complete_values(store, set.direction, set.distance).size();
    if (set.samples <= static_cast<int64_t>(ranked)) curves.push_back(set_rank_curve(set, *distance));
  }
  return curves;
}

json to_json(const Store& store, const std::vector<MetricSummary>& summaries, const std::vector<RankCurve>& curves) {
  json result = {{"summaries", to_json(summaries)},
                 {"rank_curves", to_json(curves)},
                 {"errors", store.errors().size()},
                 {"flagged", json::object()}};
  for (const Direction direction : store.directions()) {
    result["flagged"][name(direction)] = store.flagged(direction).size();
  }
  const std::vector<SampleRow> samples = store.samples();
  for (const std::string& domain : domains(samples)) {
    result["domains"].push_back({{"domain", domain},
                                 {"samples", std::ranges::count(samples, domain, &SampleRow::domain)},
                                 {"summaries", to_json(summarize(store, domain))},
                                 {"rank_curves", to_json(rank_curves(store, domain))}});
  }
  return result;
}

}  // namespace readback::roundtrip
