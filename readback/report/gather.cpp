#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "readback/base/files.h"
#include "readback/report/choose.h"
#include "readback/report/report.h"

namespace readback::report {

using roundtrip::CandidateRow;
using roundtrip::Direction;
using roundtrip::Role;
using score::Inputs;
using score::MetricInfo;

namespace {

using Scores = std::map<std::string, std::map<int64_t, double>>;  // sample → candidate → value

double sign(const MetricInfo& metric) { return metric.direction == score::Direction::kHigherIsBetter ? 1 : -1; }
constexpr double kEntirely = 1 - 1e-9;

class Gatherer {
 public:
  Gatherer(const roundtrip::Store& store, const ReportOptions& options)
      : store_(store),
        options_(options),
        samples_(store.samples()),
        metrics_(store.metrics()),
        album_(options.picture_bytes) {}

  ReportData run() {
    ReportData data;
    data.manifest = store_.manifest();
    data.folder = store_.folder().string();
    data.samples = static_cast<int64_t>(samples_.size());
    data.candidates = store_.num_candidates();
    data.errors = store_.errors();
    std::set<std::string> failed, flagged;
    for (const roundtrip::ErrorRow& error : data.errors) failed.insert(error.sample);
    data.failed_samples = static_cast<int64_t>(failed.size());
    for (Direction direction : store_.directions()) {
      const std::vector<roundtrip::CandidateKey> keys = store_.flagged(direction);
      data.flagged_images += static_cast<int64_t>(keys.size());
      for (const roundtrip::CandidateKey& key : keys) flagged.insert(key.sample);
      data.truncated_prompts += store_.count_truncated(direction);
    }
    data.flagged_samples = static_cast<int64_t>(flagged.size());
    data.notes = notes(data.manifest);
    const auto summaries = roundtrip::summarize(store_);
    const auto curves = roundtrip::rank_curves(store_);
    std::vector<DomainResults> domains;
    for (const std::string& domain : roundtrip::domains(samples_)) {
      domains.push_back({domain, std::ranges::count(samples_, domain, &roundtrip::SampleRow::domain),
                         roundtrip::summarize(store_, domain), roundtrip::rank_curves(store_, domain)});
    }
    for (Direction direction : store_.directions()) {
      Way way;
      way.direction = direction;
      const auto of_way = [&](const auto& row) { return row.direction == direction; };
      std::ranges::copy_if(summaries, std::back_inserter(way.summaries), of_way);
      std::ranges::copy_if(curves, std::back_inserter(way.curves), of_way);
      std::ranges::stable_sort(way.curves, std::greater{}, [](const roundtrip::RankCurve& curve) {
        return std::isnan(curve.spearman_within.mean) ? -2 : curve.spearman_within.mean;
      });
      for (const DomainResults& domain : domains) way.domains.push_back(of_the_way(domain, way));
      fill(way, data);
      data.ways.push_back(std::move(way));
    }
    const std::vector<Picture> pictures = album_.embed();
    for (const auto& [place, index] : places_) {
      Exhibit& exhibit = data.ways[place.way].exhibits[place.exhibit];
      (place.trip < 0 ? exhibit.original : exhibit.trips[static_cast<size_t>(place.trip)].picture) = pictures[index];
    }
    return data;
  }

 private:
  struct Place {
    size_t way, exhibit;
    int64_t trip;  // -1: the original
  };

  // The way's own part of both ways' results, with the curves in its order.
  static DomainResults of_the_way(const DomainResults& both, const Way& way) {
    DomainResults result{both.name, both.samples, {}, {}};
    std::ranges::copy_if(both.summaries, std::back_inserter(result.summaries),
                         [&](const auto& row) { return row.direction == way.direction; });
    for (const roundtrip::RankCurve& whole : way.curves) {
      std::ranges::copy_if(both.curves, std::back_inserter(result.curves), [&](const roundtrip::RankCurve& curve) {
        return curve.direction == way.direction && curve.distance.name == whole.distance.name &&
               curve.quality.name == whole.quality.name;
      });
    }
    return result;
  }

  static std::vector<std::string> notes(const roundtrip::Manifest& manifest) {
    std::vector<std::string> result;
    const auto found = manifest.about.find("notes");
    if (found == manifest.about.end() || !found->is_array()) return result;
    for (const nlohmann::json& note : *found) {
      if (note.is_string()) result.push_back(note.get<std::string>());
    }
    return result;
  }

  Scores scores(Direction direction, const std::string& metric) const {
    Scores result;
    for (const roundtrip::ScoreRow& row : store_.scores(direction, metric)) {
      if (row.value) result[row.key.sample][row.key.candidate] = *row.value;
    }
    return result;
  }

  // The first metric in the table's order is what candidates are ranked by; quality is the truth's where there is one.
  void choose_metrics(Way& way) const {
    for (const roundtrip::MetricSummary& summary : way.summaries) {
      const bool truth = roundtrip::knows_truth(summary.metric.inputs);
      auto& metric = summary.role == Role::kDistance ? way.distance : way.quality;
      const bool better = summary.role == Role::kQuality && (truth || summary.metric.name == "cider");
      if (!metric || (better && !roundtrip::knows_truth(metric->inputs))) metric = summary.metric;
      if (truth) (summary.role == Role::kDistance ? way.back : way.there) = accuracy(summary);
    }
  }

  Accuracy accuracy(const roundtrip::MetricSummary& summary) const {
    std::vector<double> shares;
    for (const auto& [sample, values] : scores(summary.direction, summary.metric.name)) {
      const auto right = std::ranges::count_if(values, [](const auto& entry) { return entry.second >= kEntirely; });
      shares.push_back(static_cast<double>(right) / static_cast<double>(values.size()));
    }
    return {summary.metric, score::bootstrap_mean(shares), summary.mean, summary.floor, summary.ceiling};
  }

  void fill(Way& way, ReportData& data) {
    choose_metrics(way);
    std::map<std::string, std::vector<CandidateRow>> rows;
    for (CandidateRow& row : store_.candidates(way.direction)) {
      if (row.complete()) rows[row.key.sample].push_back(std::move(row));
    }
    std::erase_if(rows,
                  [&](const auto& entry) { return static_cast<int64_t>(entry.second.size()) != data.candidates; });
    way.samples = static_cast<int64_t>(rows.size());

    std::vector<roundtrip::Ranking> rankings;
    if (way.distance) rankings = rank(rows, scores(way.direction, way.distance->name), sign(*way.distance));
    if (rankings.empty()) {
      rankings = rank(rows, {}, 0);
      way.distance.reset();
    }
    show(way, data.ways.size(), rankings, rows);
  }

  // The candidates of samples whose every picture that is not blanked has a distance, nearest first; without any
  // distances all candidates in their own order. Blanked ones have no rank. Samples without a rank are left out.
  std::vector<roundtrip::Ranking> rank(const std::map<std::string, std::vector<CandidateRow>>& rows,
                                       const Scores& distances, double sign) const {
    std::vector<roundtrip::Ranking> result;
    for (const roundtrip::SampleRow& sample : samples_) {
      const auto found = rows.find(sample.id);
      if (found == rows.end()) continue;
      std::vector<std::pair<double, int64_t>> ranked;  // distance, candidate
      bool whole = true;
      for (const CandidateRow& row : found->second) {
        if (row.flagged) continue;
        const std::optional<double> distance = value(distances, row.key);
        whole = whole && (distance || distances.empty());
        ranked.emplace_back(distance.value_or(std::numeric_limits<double>::quiet_NaN()), row.key.candidate);
      }
      if (ranked.empty() || !whole) continue;
      std::ranges::stable_sort(ranked, std::greater{}, [&](const auto& entry) { return sign * entry.first; });
      roundtrip::Ranking ranking{sample.id, {}, {}};
      for (const auto& [distance, candidate] : ranked) {
        ranking.candidates.push_back(candidate);
        ranking.distances.push_back(distance);
      }
      result.push_back(std::move(ranking));
    }
    return result;
  }

  void show(Way& way, size_t way_index, const std::vector<roundtrip::Ranking>& rankings,
            const std::map<std::string, std::vector<CandidateRow>>& rows) {
    const Scores qualities = way.quality ? scores(way.direction, way.quality->name) : Scores{};
    const auto quality = [&](const roundtrip::Ranking& ranking, int64_t candidate) {
      const auto found = qualities.find(ranking.sample);
      return found != qualities.end() && found->second.contains(candidate) ? found->second.at(candidate) : 0;
    };
    std::vector<double> gains, spreads;
    for (const roundtrip::Ranking& ranking : rankings) {
      const double gain = quality(ranking, ranking.candidates.front()) - quality(ranking, ranking.candidates.back());
      const double spread = ranking.distances.back() - ranking.distances.front();
      gains.push_back(way.quality ? sign(*way.quality) * gain : 0);
      spreads.push_back(std::isnan(spread) ? 0 : std::abs(spread));
    }
    const Scores text_truth = truth(way, Inputs::kTextTruth), picture_truth = truth(way, Inputs::kImageTruth);
    for (const Choice& choice : choose(gains, spreads, static_cast<size_t>(options_.exhibits))) {
      const roundtrip::Ranking& ranking = rankings[choice.index];
      const auto& sample = *std::ranges::find(samples_, ranking.sample, &roundtrip::SampleRow::id);
      Exhibit exhibit{sample.id, choice.reason, {}, sample.references, {}};
      place(sample.image, {way_index, way.exhibits.size(), -1}, PictureSize::kFull);
      const std::vector<CandidateRow>& of_sample = rows.at(sample.id);
      for (size_t rank = 0; rank < ranking.candidates.size(); ++rank) {
        const CandidateRow& row = of_sample[static_cast<size_t>(ranking.candidates[rank])];
        Trip trip{row.key.candidate, *row.text, {}, ranking.distances[rank], {}, {}, row.truncated_tokens};
        trip.text_truth = value(text_truth, row.key);
        trip.picture_truth = value(picture_truth, row.key);
        const bool large = rank == 0 || rank + 1 == ranking.candidates.size();
        place(*row.image, {way_index, way.exhibits.size(), static_cast<int64_t>(rank)},
              large ? PictureSize::kFull : PictureSize::kThumbnail);
        exhibit.trips.push_back(std::move(trip));
      }
      for (const CandidateRow& row : of_sample) {
        if (row.flagged) {
          exhibit.blanked.push_back({row.key.candidate, *row.text, {}, NAN, {}, {}, row.truncated_tokens});
        }
      }
      way.exhibits.push_back(std::move(exhibit));
    }
  }

  Scores truth(const Way& way, Inputs inputs) const {
    const auto found = std::ranges::find(metrics_, inputs, &MetricInfo::inputs);
    return found == metrics_.end() ? Scores{} : scores(way.direction, found->name);
  }

  static std::optional<double> value(const Scores& scores, const roundtrip::CandidateKey& key) {
    const auto sample = scores.find(key.sample);
    if (sample == scores.end() || !sample->second.contains(key.candidate)) return std::nullopt;
    return sample->second.at(key.candidate);
  }

  void place(const std::string& file, Place place, PictureSize size) {
    if (file.empty() || !store_.has_image(file)) return;
    places_.emplace_back(place, album_.add(store_.load_image(file), size));
  }

  const roundtrip::Store& store_;
  ReportOptions options_;
  std::vector<roundtrip::SampleRow> samples_;
  std::vector<MetricInfo> metrics_;
  PictureAlbum album_;
  std::vector<std::pair<Place, size_t>> places_;  // and the picture's place in the album
};

}  // namespace

ReportData gather(const roundtrip::Store& store, const ReportOptions& options) {
  return Gatherer(store, options).run();
}

void write_report(const roundtrip::Store& store, const std::filesystem::path& file) {
  write_file(file, render(gather(store)));
}

}  // namespace readback::report
