#include "readback/roundtrip/choices.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/random.h"
#include "readback/roundtrip/role.h"

namespace readback::roundtrip {

namespace {

using ByCandidate = std::map<int64_t, double>;                        // higher is better
using Candidates = std::map<std::string, std::vector<CandidateRow>>;  // complete ones

Candidates complete_candidates(const Store& store, Direction direction) {
  Candidates candidates;
  for (CandidateRow& row : store.candidates(direction)) {
    if (row.complete()) candidates[row.key.sample].push_back(std::move(row));
  }
  return candidates;
}

std::optional<double> token_log_probability(const CandidateRow& row) {
  if (!row.log_probability || !row.token_ids || row.token_ids->empty()) return std::nullopt;
  return *row.log_probability / static_cast<double>(row.token_ids->size());
}

// +1 when higher is better, -1 when lower is.
double sign_of(const Store& store, const std::string& by) {
  const std::vector<score::MetricInfo> measured = store.metrics();
  const auto metric = std::ranges::find(measured, by, &score::MetricInfo::name);
  return metric != measured.end() && metric->direction == score::Direction::kLowerIsBetter ? -1 : 1;
}

Values values_of(const Store& store, Direction direction, const Candidates& candidates, const std::string& by) {
  Values values;
  if (by == kLikelihood || by == kRandom) {
    for (const auto& [sample, rows] : candidates) {
      for (const CandidateRow& row : rows) {
        const auto value = by == kLikelihood
                               ? token_log_probability(row)
                               : Random(store.seed(), Purpose::kChoice, std::string(name(direction)) + " " + sample,
                                        static_cast<uint64_t>(row.key.candidate))
                                     .uniform();
        if (value) values[sample][row.key.candidate] = *value;
      }
    }
    return values;
  }
  const std::vector<score::MetricInfo> measured = store.metrics();
  const auto metric = std::ranges::find(measured, by, &score::MetricInfo::name);
  if (metric == measured.end()) {
    std::vector<std::string> names = {kLikelihood, kRandom};
    for (const score::MetricInfo& info : measured) names.push_back(info.name);
    throw UsageError(describe(store.folder().string() + ", to choose by",
                              fmt::format("one of {}", fmt::join(names, ", ")), "\"" + by + "\""));
  }
  const double sign = sign_of(store, by);
  for (const ScoreRow& row : store.scores(direction, by)) {
    if (row.value) values[row.key.sample][row.key.candidate] = sign * *row.value;
  }
  return values;
}

// What share of a sample's others each candidate beats, from 0 to 1; of equal ones half.
ByCandidate mean_ranks(const std::vector<ByCandidate>& metrics) {
  ByCandidate ranks;
  for (const ByCandidate& values : metrics) {
    for (const auto& [candidate, value] : values) {
      double beaten = -0.5;  // itself
      for (const auto& [other, compared] : values) beaten += compared < value ? 1 : compared == value ? 0.5 : 0;
      ranks[candidate] += beaten / static_cast<double>(std::max<size_t>(1, values.size() - 1)) / metrics.size();
    }
  }
  return ranks;
}

class Chooser {
 public:
  Chooser(const Store& store, Direction direction, const ChoiceOptions& options)
      : options_((check_options(options), options)), candidates_(complete_candidates(store, direction)) {
    if (options.candidates > 0) {
      for (auto& [sample, rows] : candidates_) {
        std::erase_if(rows, [&](const CandidateRow& row) { return row.key.candidate >= options.candidates; });
      }
    }
    if (options.by.empty()) {
      throw UsageError(describe("candidates of " + std::string(name(direction)), "something to choose by", "nothing"));
    }
    sign_ = options.by.size() == 1 ? sign_of(store, options.by.front()) : 1;
    for (const std::string& by : options.by) by_.push_back(values_of(store, direction, candidates_, by));
    for (const std::string& by : options.agree) agree_.push_back(values_of(store, direction, candidates_, by));
  }

  void choose(const SampleRow& sample, Choices& choices) const {
    Choice choice{.position = sample.position, .candidates = rated(sample.id)};
    if (choice.candidates.size() < 2) {
      ++choices.incomplete;
      return;
    }
    const auto likely = [&](const Rated& rated) {
      return !options_.min_log_probability ||
             token_log_probability(row(sample.id, rated.candidate)).value_or(0) >= *options_.min_log_probability;
    };
    const auto best = std::ranges::find_if(choice.candidates, likely);
    if (best == choice.candidates.end()) {
      ++choices.unlikely;
      return;
    }
    if (options_.accept && best->reward < sign_ * *options_.accept) {
      ++choices.poor;
      return;
    }
    for (const Rated& rated : choice.candidates) {
      if (rated.reward == best->reward && likely(rated)) choice.chosen.push_back(rated.candidate);
    }
    const auto rejected = std::find_if(choice.candidates.rbegin(), choice.candidates.rend(), [&](const Rated& rated) {
      return rated.reward < best->reward && differs(sample.id, rated.candidate, choice.chosen);
    });
    const bool has_rejected = rejected != choice.candidates.rend();
    if (options_.margin > 0 && (!has_rejected || best->reward - rejected->reward < options_.margin)) {
      ++choices.narrow;
      return;
    }
    if (has_rejected) choice.rejected = rejected->candidate;
    if (disputed(sample.id, choice)) {
      ++choices.disputed;
      return;
    }
    choices.kept.push_back(std::move(choice));
  }

 private:
  // Those with a value by every metric, the best first.
  std::vector<Rated> rated(const std::string& sample) const {
    std::vector<ByCandidate> values;
    for (const Values& metric : by_) {
      const auto found = metric.find(sample);
      values.push_back(found == metric.end() ? ByCandidate() : found->second);
    }
    for (ByCandidate& own : values) {
      std::erase_if(own, [&](const auto& entry) {
        return (options_.candidates > 0 && entry.first >= options_.candidates) ||
               std::ranges::any_of(values, [&](const ByCandidate& other) { return !other.contains(entry.first); });
      });
    }
    const ByCandidate rewards = values.size() == 1 ? values.front() : mean_ranks(values);
    std::vector<Rated> rated;
    for (const auto& [candidate, reward] : rewards) rated.push_back({candidate, reward});
    std::ranges::stable_sort(rated, std::ranges::greater(), &Rated::reward);
    return rated;
  }

  const CandidateRow& row(const std::string& sample, int64_t candidate) const {
    return *std::ranges::find(candidates_.at(sample), candidate, [](const CandidateRow& r) { return r.key.candidate; });
  }

  // The pictures of a text always do; a caption may have been said twice, and drawn otherwise.
  bool differs(const std::string& sample, int64_t candidate, const std::vector<int64_t>& others) const {
    const CandidateRow& own = row(sample, candidate);
    return own.key.direction == Direction::kT2I2T ||
           std::ranges::none_of(others, [&](int64_t other) { return *row(sample, other).text == *own.text; });
  }

  bool disputed(const std::string& sample, const Choice& choice) const {
    if (choice.rejected < 0) return false;
    return std::ranges::any_of(agree_, [&](const Values& metric) {
      const auto found = metric.find(sample);
      if (found == metric.end()) return true;
      const auto chosen = found->second.find(choice.chosen.front()), rejected = found->second.find(choice.rejected);
      return chosen == found->second.end() || rejected == found->second.end() || chosen->second < rejected->second;
    });
  }

  ChoiceOptions options_;
  Candidates candidates_;
  std::vector<Values> by_, agree_;
  double sign_ = 1;  // of a single metric's values
};

}  // namespace

std::string Choices::summary() const {
  std::string text =
      fmt::format("{} of {} samples", kept.size(), std::ssize(kept) + incomplete + unlikely + poor + narrow + disputed);
  const std::pair<int64_t, const char*> left_out[] = {{incomplete, "incomplete"},
                                                      {unlikely, "too unlikely"},
                                                      {poor, "not good enough"},
                                                      {narrow, "below the margin"},
                                                      {disputed, "disputed by another metric"}};
  const char* separator = "; ";
  for (const auto& [count, why] : left_out) {
    if (count == 0) continue;
    text += fmt::format("{}{} {}", separator, count, why);
    separator = ", ";
  }
  return text;
}

Values values_by(const Store& store, Direction direction, const std::string& by) {
  return values_of(store, direction, complete_candidates(store, direction), by);
}

std::string default_distance(const Store& store, Direction direction) {
  std::vector<score::MetricInfo> distances = store.metrics();
  std::erase_if(distances, [&](const score::MetricInfo& metric) {
    return role(direction, metric.inputs) != Role::kDistance || store.scores(direction, metric.name).empty();
  });
  if (distances.empty()) {
    throw UsageError(describe(store.folder().string() + ", " + name(direction), "a distance to rank candidates by",
                              "none that was measured", "Measure one: readback run … with the option metrics"));
  }
  std::ranges::stable_sort(distances, {}, [](const score::MetricInfo& metric) { return knows_truth(metric.inputs); });
  return distances.front().name;
}

Choices choose(const Store& store, Direction direction, const ChoiceOptions& options) {
  const Chooser chooser(store, direction, options);
  Choices choices;
  for (const SampleRow& sample : store.samples()) {
    if (options.samples > 0 && sample.position >= options.samples) break;
    chooser.choose(sample, choices);
  }
  return choices;
}

void export_choices(const Store& store, Direction direction, const Choices& choices,
                    const std::filesystem::path& file) {
  const std::vector<SampleRow> samples = store.samples();
  const Candidates candidates = complete_candidates(store, direction);
  const bool images = direction == Direction::kI2T2I;
  std::string lines;
  for (const Choice& choice : choices.kept) {
    const SampleRow& sample = samples[static_cast<size_t>(choice.position)];
    const auto told = [&](int64_t number) {
      nlohmann::ordered_json json = {{"candidate", number}};
      for (const Rated& rated : choice.candidates) {
        if (rated.candidate == number) json["reward"] = rated.reward;
      }
      for (const CandidateRow& row : candidates.at(sample.id)) {
        if (row.key.candidate == number) json[images ? "text" : "image"] = images ? *row.text : *row.image;
      }
      return json;
    };
    nlohmann::ordered_json line = {{"sample", sample.id},
                                   {images ? "image" : "text", images ? sample.image : sample.prompt()},
                                   {"chosen", nlohmann::ordered_json::array()},
                                   {"rejected", nullptr}};
    for (const int64_t number : choice.chosen) line["chosen"].push_back(told(number));
    if (choice.rejected >= 0) line["rejected"] = told(choice.rejected);
    lines += line.dump() + "\n";
  }
  write_file(file, lines);
}

std::string content_digest(const Store& store) {
  const Manifest& manifest = store.manifest();
  std::string bytes = manifest.options.dump() + manifest.digests.dump();
  for (const score::MetricInfo& metric : store.metrics()) bytes += metric.name + " " + metric.checkpoint + "\n";
  for (const Direction direction : store.directions()) {
    bytes += fmt::format("{} {}\n", name(direction), store.count_complete(direction));
  }
  return fmt::format("{:016x}", fnv1a(bytes));
}

}  // namespace readback::roundtrip
