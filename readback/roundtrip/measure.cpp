#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <map>
#include <optional>

#include "readback/base/error.h"
#include "readback/roundtrip/execute.h"
#include "readback/roundtrip/recording.h"
#include "readback/roundtrip/role.h"
#include "readback/score/statistics/significance.h"

namespace readback::roundtrip {

namespace {

using score::Comparison;
using score::Inputs;

// An original as metrics see it.
struct Original {
  const SampleRow* sample = nullptr;
  std::optional<image::Image> image;
};

bool reads_images(Inputs inputs) {
  return inputs == Inputs::kImages || inputs == Inputs::kImageTruth || inputs == Inputs::kImageText ||
         inputs == Inputs::kImageTextReferences;
}

// What one candidate is compared to; several only for texts against several references, whose mean counts.
std::vector<Comparison> compare(const CandidateRow& candidate, const image::Image* image, const Original& original,
                                Inputs inputs) {
  const SampleRow& sample = *original.sample;
  const std::vector<std::string> targets = candidate.key.direction == Direction::kI2T2I || sample.references.empty()
                                               ? sample.references
                                               : std::vector<std::string>{sample.prompt()};
  Comparison comparison;
  comparison.candidate_image = image;
  comparison.original_image = original.image ? &*original.image : nullptr;
  comparison.candidate_text = *candidate.text;
  comparison.truth = sample.truth;
  if (inputs == Inputs::kReferences) comparison.references = targets;
  // Of an image and a text, one is the intermediate result and the other what it was made from.
  if (inputs == Inputs::kImageText || inputs == Inputs::kImageTextReferences) {
    if (candidate.key.direction == Direction::kI2T2I) {
      comparison.candidate_image = nullptr;
      if (inputs == Inputs::kImageTextReferences) comparison.references = targets;
    } else {
      comparison.original_image = nullptr;
      comparison.original_text = sample.prompt();
    }
    return {comparison};
  }
  if (inputs != Inputs::kTexts || targets.empty()) return {comparison};
  std::vector<Comparison> result;
  for (const std::string& target : targets) {
    comparison.original_text = target;
    result.push_back(comparison);
  }
  return result;
}

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
          const Original own{&samples_[i], {}}, other{&samples_[static_cast<size_t>(partners_[i])], {}};
          std::ranges::move(assemble(metric->info(), candidates, usable, {}, own, other).comparisons,
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
    Original own{&sample, {}}, other{&samples_[static_cast<size_t>(partners_[index])], {}};
    const bool loaded = recorder_.attempt({sample.id, direction, -1, "measure", ""}, [&] {
      if (!images_needed) return;
      for (const CandidateRow& row : candidates) images.push_back(store_.load_image(*row.image));
      for (Original* original : {&own, &other}) {
        if (!original->sample->image.empty()) original->image = store_.load_image(original->sample->image);
      }
    });
    if (!loaded) return;

    std::vector<ScoreRow> scores;
    std::vector<FloorRow> floors;
    for (score::Metric* metric : missing) {
      recorder_.attempt({sample.id, direction, -1, "metric " + metric->info().name, ""},
                        [&] { measure_one(*metric, direction, candidates, images, own, other, scores, floors); });
    }
    store_.put_scores(scores, floors);
    Observer* const observer = context_.observer();
    for (const ScoreRow& row : scores) {
      if (observer == nullptr) break;
      observer->on_score({name(row.key.direction), row.key.sample, row.key.candidate, row.metric, row.value});
    }
  }

  struct Batch {
    std::vector<Comparison> comparisons;
    std::vector<size_t> ends;  // one behind the last comparison of each value
  };

  // Every usable candidate against its own original, then the first of them against another sample's.
  static Batch assemble(const score::MetricInfo& info, const std::vector<CandidateRow>& candidates,
                        const std::vector<size_t>& usable, const std::vector<image::Image>& images, const Original& own,
                        const Original& other) {
    Batch batch;
    const auto add = [&](size_t candidate, const Original& original) {
      const image::Image* image = images.empty() ? nullptr : &images[candidate];
      std::ranges::move(compare(candidates[candidate], image, original, info.inputs),
                        std::back_inserter(batch.comparisons));
      batch.ends.push_back(batch.comparisons.size());
    };
    for (const size_t i : usable) add(i, own);
    if (other.sample != own.sample) add(usable.front(), other);
    return batch;
  }

  void measure_one(score::Metric& metric, Direction direction, const std::vector<CandidateRow>& candidates,
                   const std::vector<image::Image>& images, const Original& own, const Original& other,
                   std::vector<ScoreRow>& scores, std::vector<FloorRow>& floors) const {
    const score::MetricInfo& info = metric.info();
    const std::vector<size_t> usable = usable_candidates(direction, info, candidates);
    const auto [batch, ends] = assemble(info, candidates, usable, images, own, other);
    const std::vector<double> values = metric.score(batch, context_);
    size_t begin = 0;
    for (size_t i = 0; i < ends.size(); ++i) {
      const double mean = score::mean(std::span(values).subspan(begin, ends[i] - begin));
      const std::optional<double> value = std::isnan(mean) ? std::nullopt : std::optional(mean);
      if (i < usable.size()) {
        scores.push_back({candidates[usable[i]].key, info.name, value});
      } else {
        floors.push_back({candidates[usable.front()].key, info.name, other.sample->id, value});
      }
      begin = ends[i];
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
