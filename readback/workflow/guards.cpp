#include "readback/workflow/guards.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <optional>
#include <tuple>

#include "readback/base/error.h"
#include "readback/roundtrip/choices.h"
#include "readback/roundtrip/curves.h"
#include "readback/roundtrip/role.h"
#include "readback/score/image/precision_recall.h"
#include "readback/score/text/diversity.h"

namespace readback::workflow {

using nlohmann::ordered_json;
using roundtrip::Direction;
using roundtrip::Store;
using score::Interval;

namespace {

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::ranges::find(names, name) != names.end();
}

const std::vector<std::string>& rewards_of(const Rewards& rewards, Direction direction) {
  return direction == Direction::kI2T2I ? rewards.image_cycle : rewards.text_cycle;
}

// By sample the mean over its candidates, in the metric's own sign.
std::map<std::string, double> sample_values(const Store& store, Direction direction, const std::string& metric) {
  if (metric != roundtrip::kLikelihood) return roundtrip::sample_means(store, direction, metric);
  std::map<std::string, double> means;
  for (const auto& [sample, values] : roundtrip::values_by(store, direction, metric)) {
    double sum = 0;
    for (const auto& [candidate, value] : values) sum += value;
    means[sample] = sum / static_cast<double>(values.size());
  }
  return means;
}

std::vector<double> values_in_order(const std::map<std::string, double>& values) {
  std::vector<double> list;
  for (const auto& [sample, value] : values) list.push_back(value);
  return list;
}

std::vector<double> floors_of(const Store& store, Direction direction, const std::string& metric) {
  std::vector<double> values;
  if (metric == roundtrip::kLikelihood) return values;
  for (const roundtrip::FloorRow& row : store.floors(direction, metric)) {
    if (row.value) values.push_back(*row.value);
  }
  return values;
}

// A metric of one round on the held-out samples.
struct Guarded {
  Direction direction = Direction::kI2T2I;
  std::string metric, title;
  bool lower_is_better = false;
  bool is_reward = false;
  Interval value;                      // over samples
  std::optional<double> floor;         // of random pairs
  std::optional<Interval> difference;  // from the round before, over the same samples, in the metric's own sign
  bool better = false, worse = false;  // beyond the interval
};

Guarded guarded(const Store& run, Direction direction, const score::MetricInfo& metric, bool is_reward) {
  Guarded row{.direction = direction,
              .metric = metric.name,
              .title = metric.title,
              .lower_is_better = metric.direction == score::Direction::kLowerIsBetter,
              .is_reward = is_reward};
  row.value = score::bootstrap_mean(values_in_order(sample_values(run, direction, metric.name)));
  if (const std::vector<double> floors = floors_of(run, direction, metric.name); !floors.empty()) {
    row.floor = score::mean(floors);
  }
  return row;
}

// All that the run has measured of a direction, the rewards first.
std::vector<Guarded> guarded_metrics(const Store& run, const Rewards& rewards) {
  std::vector<Guarded> rows;
  for (const Direction direction : run.directions()) {
    const std::vector<std::string>& names = rewards_of(rewards, direction);
    if (contains(names, roundtrip::kLikelihood)) {
      rows.push_back(guarded(run, direction,
                             {.name = roundtrip::kLikelihood,
                              .title = "Log-probability per token",
                              .formula = "",
                              .direction = score::Direction::kHigherIsBetter,
                              .inputs = score::Inputs::kReferences,
                              .checkpoint = "",
                              .option = ""},
                             true));
    }
    for (const bool is_reward : {true, false}) {
      for (const score::MetricInfo& metric : run.metrics()) {
        if (contains(names, metric.name) != is_reward) continue;
        Guarded row = guarded(run, direction, metric, is_reward);
        if (row.value.count > 0) rows.push_back(std::move(row));
      }
    }
  }
  return rows;
}

// Sets the differences from the round before, by intervals that hold for all held-out metrics together (Bonferroni).
void compare(std::vector<Guarded>& rows, const Store& run, const Store& previous, double confidence) {
  const auto held_out = std::ranges::count_if(rows, [](const Guarded& row) { return !row.is_reward; });
  for (Guarded& row : rows) {
    const auto now = sample_values(run, row.direction, row.metric);
    const auto before = sample_values(previous, row.direction, row.metric);
    std::vector<double> a, b;
    for (const auto& [sample, value] : now) {
      const auto found = before.find(sample);
      if (found == before.end()) continue;
      a.push_back(value);
      b.push_back(found->second);
    }
    if (a.size() < 2) continue;
    const double share = row.is_reward ? 1.0 : 1.0 / static_cast<double>(std::max<std::ptrdiff_t>(1, held_out));
    row.difference = score::paired_difference(a, b, {.confidence = 1 - (1 - confidence) * share});
    const bool rose = row.difference->low > 0, fell = row.difference->high < 0;
    row.better = row.lower_is_better ? fell : rose;
    row.worse = row.lower_is_better ? rose : fell;
  }
}

std::string change(const Guarded& row) {
  return fmt::format("{} of {} by {:+.3g} [{:+.3g}, {:+.3g}]", row.title, roundtrip::name(row.direction),
                     row.difference->mean, row.difference->low, row.difference->high);
}

// Where the reward and what is held out part ways.
std::vector<std::string> partings(const std::vector<Guarded>& rows) {
  std::vector<std::string> sentences;
  for (const Direction direction : {Direction::kI2T2I, Direction::kT2I2T}) {
    std::vector<std::string> worse, better;
    for (const Guarded& row : rows) {
      if (row.direction != direction || !row.difference) continue;
      if (row.is_reward && row.better) better.push_back(change(row));
      if (!row.is_reward && row.worse) worse.push_back(change(row));
    }
    for (const std::string& what : worse) {
      sentences.push_back(what + (better.empty() ? ": worse, and the reward is no better"
                                                 : ": worse, while the reward is better, " + better.front()));
    }
  }
  return sentences;
}

// What of the start's variety is lost.
std::vector<std::string> losses(const ordered_json& now, const ordered_json& first, double least) {
  std::vector<std::string> sentences;
  const std::tuple<const char*, const char*, const char*> kinds[] = {
      {"captions", "distinct_texts", "The share of distinct captions"},
      {"captions", "distinct_2", "The share of distinct bigrams of captions"},
      {"pictures", "recall", "The recall of pictures"}};
  for (const auto& [kind, name, what] : kinds) {
    if (!now.contains(kind) || !first.contains(kind)) continue;
    const double before = first[kind][name], after = now[kind][name];
    if (after >= least * before) continue;
    sentences.push_back(fmt::format("{} fell from {:.3g} to {:.3g}", what, before, after));
  }
  return sentences;
}

ordered_json to_json(const Interval& interval) {
  return {{"mean", interval.mean}, {"low", interval.low}, {"high", interval.high}, {"samples", interval.count}};
}

ordered_json to_json(const Guarded& row) {
  ordered_json line = {{"direction", roundtrip::name(row.direction)},
                       {"metric", row.metric},
                       {"title", row.title},
                       {"better", row.lower_is_better ? "lower" : "higher"},
                       {"role", row.is_reward ? "reward" : "held out"},
                       {"value", to_json(row.value)},
                       {"floor", row.floor ? ordered_json(*row.floor) : ordered_json()}};
  if (row.difference) {
    line["difference"] = to_json(*row.difference);
    line["verdict"] = row.better ? "better" : row.worse ? "worse" : "";
  }
  return line;
}

bool has(const Store& run, Direction direction) {
  return std::ranges::find(run.directions(), direction) != run.directions().end();
}

void describe_captions(const Store& run, ordered_json& round) {
  if (!has(run, Direction::kI2T2I)) return;
  std::vector<std::string> texts;
  for (const roundtrip::CandidateRow& row : run.candidates(Direction::kI2T2I)) {
    if (row.text) texts.push_back(*row.text);
  }
  if (texts.empty()) return;
  const score::TextDiversity diversity = score::text_diversity(texts);
  round["captions"] = {{"distinct_1", diversity.distinct_1},
                       {"distinct_2", diversity.distinct_2},
                       {"entropy_2", diversity.entropy_2},
                       {"distinct_texts", diversity.distinct_texts}};
}

at::Tensor clip_vectors(const Store& run, const std::vector<std::string>& paths, score::EmbeddingCache& clip) {
  constexpr size_t kBatch = 32;
  std::vector<at::Tensor> parts;
  for (size_t begin = 0; begin < paths.size(); begin += kBatch) {
    std::vector<image::Image> images;
    for (size_t i = begin; i < std::min(paths.size(), begin + kBatch); ++i) images.push_back(run.load_image(paths[i]));
    std::vector<const image::Image*> pointers;
    for (const image::Image& image : images) pointers.push_back(&image);
    parts.push_back(clip.candidate_images(pointers).projected);
  }
  return at::cat(parts);
}

// By CLIP's vectors of the drawn pictures and of the originals.
void describe_pictures(const Store& run, const score::MetricCheckpoints& checkpoints, const Machine& machine,
                       ordered_json& round) {
  constexpr int64_t kNeighbours = 3;
  if (checkpoints.clip.empty() || !has(run, Direction::kT2I2T)) return;
  std::vector<std::string> drawn, originals;
  for (const roundtrip::CandidateRow& row : run.candidates(Direction::kT2I2T)) {
    if (row.complete() && !row.flagged) drawn.push_back(*row.image);
  }
  for (const roundtrip::SampleRow& row : run.samples()) {
    if (!row.image.empty()) originals.push_back(row.image);
  }
  if (std::ssize(drawn) <= kNeighbours || std::ssize(originals) <= kNeighbours) return;
  const auto clip =
      score::open_checkpoints(checkpoints, {machine.device, machine.dtype}, score::EmbeddingCache::Originals::kOneByOne)
          .clip.get();
  const score::PrecisionRecall value =
      score::precision_recall(clip_vectors(run, drawn, *clip), clip_vectors(run, originals, *clip), kNeighbours);
  round["pictures"] = {{"precision", value.precision}, {"recall", value.recall}};
}

}  // namespace

ordered_json judge(const Judged& now, const Judged* previous, const Judged* start, const ordered_json& first,
                   const Rewards& rewards, const GuardOptions& options, const score::MetricCheckpoints& checkpoints,
                   const Machine& machine, const Context& context) {
  std::vector<Guarded> rows = guarded_metrics(now.run, rewards);
  std::vector<std::string> parted;
  if (previous != nullptr) {
    compare(rows, now.run, previous->run, options.confidence);
    parted = partings(rows);
  }
  ordered_json round = {{"metrics", ordered_json::array()}};
  for (const Guarded& row : rows) round["metrics"].push_back(to_json(row));
  if (start != nullptr) {
    const train::Drift drift = train::measure_drift(start->models, now.models, now.run, machine, context);
    if (drift.captioner) round["drift"]["captioner"] = *drift.captioner;
    if (drift.generator) round["drift"]["generator"] = *drift.generator;
  }
  describe_captions(now.run, round);
  describe_pictures(now.run, checkpoints, machine, round);
  std::ranges::move(losses(round, first, options.least_variety), std::back_inserter(parted));
  round["parted"] = parted;
  return round;
}

std::string Signal::sentence() const {
  return fmt::format(
      "{} of {}: {:.3g} [{:.3g}, {:.3g}], random pairs {:.3g} [{:.3g}, {:.3g}], {:.2g} standard deviations", metric,
      roundtrip::name(direction), own.mean, own.low, own.high, floor.mean, floor.low, floor.high, deviations);
}

std::vector<Signal> signals(const Store& run, const Rewards& rewards) {
  std::vector<Signal> all;
  const std::vector<score::MetricInfo> metrics = run.metrics();
  for (const Direction direction : run.directions()) {
    for (const std::string& name : rewards_of(rewards, direction)) {
      const auto metric = std::ranges::find(metrics, name, &score::MetricInfo::name);
      if (metric == metrics.end()) continue;
      const auto own = sample_values(run, direction, name);
      std::map<std::string, double> floors;
      for (const roundtrip::FloorRow& row : run.floors(direction, name)) {
        if (row.value) floors[row.key.sample] = *row.value;
      }
      std::vector<double> a, b;
      for (const auto& [sample, value] : own) {
        const auto found = floors.find(sample);
        if (found == floors.end()) continue;
        a.push_back(value);
        b.push_back(found->second);
      }
      if (a.size() < 2) continue;
      Signal signal{
          .direction = direction, .metric = name, .own = score::bootstrap_mean(a), .floor = score::bootstrap_mean(b)};
      const bool lower = metric->direction == score::Direction::kLowerIsBetter;
      signal.gain = lower ? score::paired_difference(b, a) : score::paired_difference(a, b);
      double squares = 0;
      for (const double value : b) squares += (value - signal.floor.mean) * (value - signal.floor.mean);
      const double deviation = std::sqrt(squares / static_cast<double>(b.size() - 1));
      // Random pairs that are all alike, such as n-grams that never match, leave no doubt.
      signal.deviations = deviation > 0 ? signal.gain.mean / deviation : signal.gain.mean > 0 ? INFINITY : 0;
      all.push_back(std::move(signal));
    }
  }
  return all;
}

void expect_signal(const std::vector<Signal>& signals, const GuardOptions& options, const Context& context) {
  std::vector<std::string> weak;
  for (const Signal& signal : signals) {
    context.progress().note(signal.sentence());
    if (!signal.teaches(options.least_signal)) weak.push_back(signal.sentence());
  }
  if (weak.empty()) return;
  throw UsageError(
      describe(fmt::format("what returned of {} samples", options.probe),
               fmt::format("nearer than random pairs by {:.2g} of their standard deviations", options.least_signal),
               fmt::format("{}", fmt::join(weak, "; ")),
               "Choose another metric, a better partner (reader, drawer) or a lower least_signal"));
}

}  // namespace readback::workflow
