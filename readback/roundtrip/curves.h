// What a run says, computed from its store alone: rankings, rank curves, means and floors, of all samples or of those
// of one domain. Values that a blanked picture spoils (roundtrip/role.h) are in none of them: means are over the other
// candidates, rankings and curves over the samples that have a value for every candidate.
#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "readback/roundtrip/role.h"
#include "readback/roundtrip/store.h"
#include "readback/score/metric.h"
#include "readback/score/statistics/bootstrap.h"

namespace readback::roundtrip {

// One metric over a run: the mean over samples of each sample's mean over its candidates.
struct MetricSummary {
  Direction direction = Direction::kI2T2I;
  Role role = Role::kDistance;
  score::MetricInfo metric;
  score::Interval mean;
  score::Interval floor;  // the same metric on random pairs: what models that understand nothing would get
  // The same metric on originals that were drawn anew without words (roundtrip/ceiling.h); no samples where none were.
  score::Interval ceiling;
};

// The candidates of a sample from nearest to farthest.
struct Ranking {
  std::string sample;
  std::vector<int64_t> candidates;  // candidate indices; [0] is rank 0. Ties: the lower index first
  std::vector<double> distances;    // in the same order
};

// Mean quality of the intermediate result against the rank of its reconstruction.
struct RankCurve {
  Direction direction = Direction::kI2T2I;
  score::MetricInfo distance, quality;
  std::vector<score::Interval> ranks;  // quality's mean over samples, [0] is rank 0
  score::Interval difference;          // quality at rank 0 minus quality at the last rank, in quality's own sign
  // Between nearness and goodness over all candidates: positive where nearer reconstructions come from better
  // intermediate results, whatever the signs of the two metrics.
  double spearman = 0, kendall = 0;
  // The same within each sample, averaged over samples in which neither is constant.
  score::Interval spearman_within, kendall_within;
  int64_t samples = 0;   // with every candidate measured
  int64_t left_out = 0;  // samples that lack some
  int64_t flagged = 0;   // of those: with a picture that the safety checker blanked
};

// What the samples are grouped by, in the order of first appearance. None where all samples have the same, or none.
std::vector<std::string> domains(std::span<const SampleRow> samples);

// `domain`: of its samples only; empty: of all.
std::vector<MetricSummary> summarize(const Store& store, const std::string& domain = "");
// Samples with all their candidates measured, in the data set's order.
std::vector<Ranking> rankings(const Store& store, Direction direction, const std::string& distance);
// Every (direction, distance, quality), in the order of the metrics. `domain` as above; curves of whole sets of
// pictures (roundtrip/set_curves.h) are there for all samples only.
std::vector<RankCurve> rank_curves(const Store& store, const std::string& domain = "");
// Per sample the mean score over its candidates, for tables and paired comparisons of runs. NaN-free.
std::map<std::string, double> sample_means(const Store& store, Direction direction, const std::string& metric);

// For machines: {"summaries": […], "rank_curves": […], "errors": n, "flagged": {"i2t2i": candidates, …}}, and where the
// run has domains {"domains": [{"domain", "samples": n, "summaries": […], "rank_curves": […]}, …]} besides.
nlohmann::json to_json(const Store& store, const std::vector<MetricSummary>& summaries,
                       const std::vector<RankCurve>& curves);

}  // namespace readback::roundtrip
