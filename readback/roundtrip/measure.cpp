#include <algorithm>
#include <iterator>
#include <map>
#include <optional>

#include "readback/base/error.h"
#include "readback/roundtrip/comparison.h"
#include "readback/roundtrip/execute.h"
#include "readback/roundtrip/recording.h"
#include "readback/roundtrip/role.h"
#include "readback/score/statistics/significance.h"

namespace readback::roundtrip {

namespace {

using score::Comparison;

class Meter {
 public:
  Meter(Store& store, std::span<const std::unique_ptr<score::Metric>> metrics, const Context& context)
      : store_(store),
        metrics_(metrics),
        context_(context),
        recorder_(store, -1),
        samples_(store.samples()),
        partners_(score::random_partners(static_cast<int64_t>(samples_.size()), store.seed())) {}

  void run() {
    for (const auto& metric : metrics_) store_.put_metric(metric->info());
    const std::vector<Direction> directions = store_.directions();
    prepare_metrics(directions);
    context_.progress().begin("measuring", static_cast<int64_t>(directions.size() * samples_.size()));
    for (Direction direction : directions) {
      const auto measured = count_scores(direction);
      for (size_t i = 0; i < samples_.size(); ++i) {
        context_.check();
        measure_sample(direction, i, measured);
        context_.progress().advance(1, samples_[i].id);
      }
    }
    context_.progress().end();
  }

 private:
  using Counts = std::map<std::pair<std::string, std::string>, size_t>;  // (metric, sample) → rows

  Counts count_scores(Direction direction) const {
    Counts counts;
    for (const auto& metric : metrics_) {
      for (const ScoreRow& row : store_.scores(direction, metric->info().name)) {
        ++counts[{row.metric, row.key.sample}];
      }
    }
    return counts;
  }

  // Gives metrics of texts that prefer it everything that they have not measured.
  void prepare_metrics(const std::vector<Direction>& directions) {
    for (const auto& metric : metrics_) {
      if (!metric->prefers_all_at_once()) continue;
      std::vector<Comparison> all;
      for (Direction direction : directions) {
        const auto measured = count_scores(direction);
        for (size_t i = 0; i < samples_.size(); ++i) {
          const std::vector<CandidateRow> candidates = complete_candidates(direction, samples_[i].id);
          const std::vector<size_t> usable = usable_candidates(direction, metric->info(), candidates);
          if (is_measured(measured, *metric, samples_[i], usable)) continue;
          std::ranges::copy(assemble(metric->info(), direction, candidates, usable, {}, i, {}).comparisons(),
                            std::back_inserter(all));
        }
      }
      metric->prepare(all, context_);
    }
  }

  std::vector<CandidateRow> complete_candidates(Direction direction, const std::string& sample) const {
    std::vector<CandidateRow> candidates = store_.candidates(direction, sample);
    std::erase_if(candidates, [](const CandidateRow& row) { return !row.complete(); });
    return candidates;
  }

  // Places of the candidates that a metric can judge: those with a picture blanked by the safety checker only where the
  // picture does not matter.
  static std::vector<size_t> usable_candidates(Direction direction, const score::MetricInfo& info,
                                               const std::vector<CandidateRow>& candidates) {
    std::vector<size_t> usable;
    for (size_t i = 0; i < candidates.size(); ++i) {
      if (!candidates[i].flagged || !needs_picture(direction, info.inputs)) usable.push_back(i);
    }
    return usable;
  }

  static bool is_measured(const Counts& measured, const score::Metric& metric, const SampleRow& sample,
                          const std::vector<size_t>& usable) {
    const auto found = measured.find({metric.info().name, sample.id});
    return usable.empty() || (found != measured.end() && found->second == usable.size());
  }

  // All metrics of a sample's candidates are committed together: a resumed run forms the same batches.
  void measure_sample(Direction direction, size_t index, const Counts& measured) {
    const SampleRow& sample = samples_[index];
    const std::vector<CandidateRow> candidates = complete_candidates(direction, sample.id);
    std::vector<score::Metric*> missing;
    bool images_needed = false;
    for (const auto& metric : metrics_) {
      if (is_measured(measured, *metric, sample, usable_candidates(direction, metric->info(), candidates))) continue;
      missing.push_back(metric.get());
      images_needed |= reads_images(metric->info().inputs);
    }
    if (missing.empty()) return;

    std::vector<image::Image> images;
    Originals originals;
    const bool loaded = recorder_.attempt({sample.id, direction, -1, "measure", ""}, [&] {
      if (!images_needed) return;
      for (const CandidateRow& row : candidates) images.push_back(store_.load_image(*row.image));
      for (const auto& [place, image] :
           {std::pair(index, &originals.own), std::pair(partner(index), &originals.other)}) {
        if (!samples_[place].image.empty()) *image = store_.load_image(samples_[place].image);
      }
    });
    if (!loaded) return;

    std::vector<ScoreRow> scores;
    std::vector<FloorRow> floors;
    for (score::Metric* metric : missing) {
      recorder_.attempt({sample.id, direction, -1, "metric " + metric->info().name, ""},
                        [&] { measure_one(*metric, direction, candidates, images, index, originals, scores, floors); });
    }
    store_.put_scores(scores, floors);
    Observer* const observer = context_.observer();
    for (const ScoreRow& row : scores) {
      if (observer == nullptr) break;
      observer->on_score({name(row.key.direction), row.key.sample, row.key.candidate, row.metric, row.value});
    }
  }

  // The pictures that a sample's candidates are compared to, where there are any.
  struct Originals {
    std::optional<image::Image> own, other;
  };
  static const image::Image* picture(const std::optional<image::Image>& image) { return image ? &*image : nullptr; }

  size_t partner(size_t index) const { return static_cast<size_t>(partners_[index]); }

  // Every usable candidate against its own original, then the first of them against another sample's.
  ComparisonBatch assemble(const score::MetricInfo& info, Direction direction,
                           const std::vector<CandidateRow>& candidates, const std::vector<size_t>& usable,
                           const std::vector<image::Image>& images, size_t index, const Originals& originals) const {
    ComparisonBatch batch(direction, info.inputs);
    const auto add = [&](size_t candidate, const Original& original) {
      batch.add(*candidates[candidate].text, images.empty() ? nullptr : &images[candidate], original);
    };
    const Original own = original_of(samples_[index], direction, picture(originals.own));
    for (const size_t i : usable) add(i, own);
    if (partner(index) != index) {
      add(usable.front(), original_of(samples_[partner(index)], direction, picture(originals.other)));
    }
    return batch;
  }

  void measure_one(score::Metric& metric, Direction direction, const std::vector<CandidateRow>& candidates,
                   const std::vector<image::Image>& images, size_t index, const Originals& originals,
                   std::vector<ScoreRow>& scores, std::vector<FloorRow>& floors) const {
    const score::MetricInfo& info = metric.info();
    const std::vector<size_t> usable = usable_candidates(direction, info, candidates);
    const auto values =
        assemble(info, direction, candidates, usable, images, index, originals).values(metric, context_);
    for (size_t i = 0; i < values.size(); ++i) {
      if (i < usable.size()) {
        scores.push_back({candidates[usable[i]].key, info.name, values[i]});
      } else {
        floors.push_back({candidates[usable.front()].key, info.name, samples_[partner(index)].id, values[i]});
      }
    }
  }

  Store& store_;
  std::span<const std::unique_ptr<score::Metric>> metrics_;
  Context context_;
  Recorder recorder_;
  std::vector<SampleRow> samples_;
  std::vector<int64_t> partners_;
};

}  // namespace

void measure(Store& store, std::span<const std::unique_ptr<score::Metric>> metrics, const Context& context) {
  Meter(store, metrics, context).run();
}

}  // namespace readback::roundtrip
