#include "readback/workflow/telephone_summary.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "readback/score/statistics/significance.h"
#include "readback/text/ptb_tokenizer.h"

namespace readback::workflow {

using nlohmann::ordered_json;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Sorted.
constexpr std::array kFunctionWords = {
    "a",    "an",    "and",   "are",  "as",   "at",    "be", "been", "but",  "by",    "for",  "from", "he",  "her",
    "his",  "in",    "is",    "it",   "its",  "nor",   "of", "on",   "or",   "she",   "some", "that", "the", "their",
    "them", "there", "these", "they", "this", "those", "to", "was",  "were", "which", "who",  "with"};
static_assert(std::ranges::is_sorted(kFunctionWords, {}, [](const char* word) { return std::string_view(word); }));

bool is_content(const std::string& token) {
  const bool said = std::ranges::any_of(token, [](unsigned char c) { return c >= 0x80 || std::isalnum(c); });
  return said && !std::ranges::binary_search(kFunctionWords, std::string_view(token), {},
                                             [](const char* word) { return std::string_view(word); });
}

// From the leads of all rounds, the first of which is positive.
double crossing(const std::vector<double>& leads) {
  const double half = leads.front() / 2;
  for (size_t round = 1; round < leads.size(); ++round) {
    if (leads[round] > half) continue;
    const double before = leads[round - 1];
    return static_cast<double>(round - 1) + (before - half) / (before - leads[round]);
  }
  return kInfinity;
}

// The means of the samples in which nothing is missing, and which these are.
std::vector<size_t> whole(const std::vector<const Rounds*>& columns) {
  std::vector<size_t> kept;
  const size_t samples = columns.front()->empty() ? 0 : columns.front()->front().size();
  for (size_t i = 0; i < samples; ++i) {
    const auto has = [&](const Rounds* rounds) {
      return std::ranges::none_of(*rounds, [&](const auto& round) { return std::isnan(round[i]); });
    };
    if (std::ranges::all_of(columns, has)) kept.push_back(i);
  }
  return kept;
}

Rounds only(const Rounds& rounds, const std::vector<size_t>& samples) {
  Rounds result(rounds.size());
  for (size_t round = 0; round < rounds.size(); ++round) {
    for (const size_t i : samples) result[round].push_back(rounds[round][i]);
  }
  return result;
}

ordered_json number(double value) { return std::isfinite(value) ? ordered_json(value) : ordered_json(); }

ordered_json to_json(const score::Interval& interval) {
  if (interval.count == 0) return {};
  return {{"mean", number(interval.mean)}, {"low", number(interval.low)}, {"high", number(interval.high)}};
}

ordered_json of_half_life(double rounds) { return std::isinf(rounds) ? ordered_json("more") : number(rounds); }

ordered_json to_json(const ChainSummary::Metric& metric) {
  const std::vector<size_t> measured = whole({&metric.values}), paired = whole({&metric.values, &metric.floors});
  const auto values = score::bootstrap_means(only(metric.values, measured));
  const Rounds of_pairs = only(metric.values, paired), floors = only(metric.floors, paired);
  const auto floor = score::bootstrap_means(floors);
  const double sign = metric.info.direction == score::Direction::kHigherIsBetter ? 1 : -1;
  std::vector<double> leads;
  for (size_t round = 0; round < floors.size(); ++round) {
    leads.push_back(sign * (score::mean(of_pairs[round]) - floor[round].mean));
  }
  ordered_json rounds = ordered_json::array();
  for (size_t round = 0; round < values.size(); ++round) {
    std::vector<double> steps = metric.steps[round];
    std::erase_if(steps, [](double step) { return std::isnan(step); });
    rounds.push_back(
        {{"value", to_json(values[round])},
         {"floor", to_json(floor[round])},
         {"left", paired.empty() || !(leads.front() > 0) ? ordered_json() : number(leads[round] / leads.front())},
         {"step", to_json(score::bootstrap_mean(steps))}});
  }
  const HalfLife half = half_life(of_pairs, floors, metric.info.direction);
  return {
      {"metric", metric.info.name},
      {"title", metric.info.title},
      {"formula", metric.info.formula},
      {"better", sign > 0 ? "higher" : "lower"},
      {"samples", measured.size()},
      {"rounds", rounds},
      {"half_life",
       {{"rounds", of_half_life(half.rounds)}, {"low", of_half_life(half.low)}, {"high", of_half_life(half.high)}}}};
}

// The share of words that survive, as a metric; the floor: in another sample's text of that round.
ChainSummary::Metric surviving_words(const ChainSummary& chain) {
  ChainSummary::Metric metric{
      {"words", "Words that survive", "share of the first text's content words that the text has",
       score::Direction::kHigherIsBetter, score::Inputs::kTexts, "", ""},
      {},
      {},
      {}};
  std::vector<std::vector<std::string>> first;
  for (const std::string& text : chain.first) first.push_back(content_words(text));
  const std::vector<int64_t> partners = score::random_partners(std::ssize(first), chain.seed);
  const std::vector<std::string>* before = &chain.first;
  for (const std::vector<std::string>& texts : chain.texts) {
    auto& values = metric.values.emplace_back();
    auto& floors = metric.floors.emplace_back();
    auto& steps = metric.steps.emplace_back();
    for (size_t i = 0; i < texts.size(); ++i) {
      const auto partner = static_cast<size_t>(partners[i]);
      values.push_back(surviving(first[i], texts[i]));
      floors.push_back(partner == i ? kNan : surviving(first[partner], texts[i]));
      steps.push_back(surviving(content_words((*before)[i]), texts[i]));
    }
    before = &texts;
  }
  return metric;
}

}  // namespace

HalfLife half_life(const Rounds& values, const Rounds& floors, score::Direction better) {
  const size_t rounds = values.size();
  if (rounds == 0 || values.front().empty()) return {};
  const double sign = better == score::Direction::kHigherIsBetter ? 1 : -1;
  Rounds leads = values;
  for (size_t round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < leads[round].size(); ++i) leads[round][i] = sign * (values[round][i] - floors[round][i]);
  }
  score::Aggregate aggregate = score::aggregate_means(leads);
  // Quantiles of resamples cannot be of infinities: what is beyond the last round counts as a round beyond it.
  const double beyond = static_cast<double>(rounds), last = beyond - 1;
  aggregate.values = [=](std::span<const double> sums, int64_t samples) {
    if (samples == 0 || !(sums.front() > 0)) return std::vector<double>{kNan};
    return std::vector<double>{std::min(crossing({sums.begin(), sums.end()}), beyond)};
  };
  const score::Interval interval = score::bootstrap(aggregate).front();
  const auto within = [=](double value) { return value > last ? kInfinity : value; };
  return {within(interval.mean), within(interval.low), within(interval.high)};
}

std::vector<std::string> content_words(std::string_view text) {
  std::vector<std::string> words = text::ptb_tokens(text);
  std::erase_if(words, [](const std::string& token) { return !is_content(token); });
  std::ranges::sort(words);
  words.erase(std::ranges::unique(words).begin(), words.end());
  return words;
}

double surviving(const std::vector<std::string>& words, std::string_view text) {
  if (words.empty()) return kNan;
  const std::vector<std::string> there = content_words(text);
  const auto count =
      std::ranges::count_if(words, [&](const std::string& word) { return std::ranges::binary_search(there, word); });
  return static_cast<double>(count) / static_cast<double>(words.size());
}

std::vector<WordLife> word_lives(const std::vector<std::string>& first,
                                 const std::vector<std::vector<std::string>>& texts) {
  std::map<std::string, WordLife> lives;
  for (size_t i = 0; i < first.size(); ++i) {
    std::vector<std::string> living = content_words(first[i]);
    for (const std::string& word : living) ++lives[word].samples;
    for (const std::vector<std::string>& round : texts) {
      const std::vector<std::string> there = content_words(round[i]);
      std::erase_if(living, [&](const std::string& word) { return !std::ranges::binary_search(there, word); });
      for (const std::string& word : living) lives[word].mean_rounds += 1;
    }
    for (const std::string& word : living) lives[word].alive += 1;
  }
  std::vector<WordLife> result;
  for (auto& [word, life] : lives) {
    life.word = word;
    life.mean_rounds /= static_cast<double>(life.samples);
    life.alive /= static_cast<double>(life.samples);
    result.push_back(life);
  }
  std::ranges::stable_sort(result, [](const WordLife& a, const WordLife& b) {
    return a.mean_rounds != b.mean_rounds ? a.mean_rounds > b.mean_rounds : a.samples > b.samples;
  });
  return result;
}

ordered_json to_json(const ChainSummary& chain) {
  const ChainSummary::Metric words = surviving_words(chain);
  ordered_json metrics = ordered_json::array({to_json(words)});
  for (const ChainSummary::Metric& metric : chain.metrics) {
    ordered_json row = to_json(metric);
    if (row["samples"] != 0) metrics.push_back(std::move(row));
  }
  ordered_json lives = ordered_json::array(), samples = ordered_json::array();
  for (const WordLife& life : word_lives(chain.first, chain.texts)) {
    lives.push_back(
        {{"word", life.word}, {"samples", life.samples}, {"mean_rounds", life.mean_rounds}, {"alive", life.alive}});
  }
  for (size_t i = 0; i < chain.samples.size(); ++i) {
    ordered_json shares = ordered_json::array();
    for (const std::vector<double>& round : words.values) shares.push_back(number(round[i]));
    samples.push_back({{"sample", chain.samples[i]}, {"words", shares}});
  }
  return {{"direction", roundtrip::name(chain.direction)},
          {"folders", chain.folders},
          {"begun", chain.begun},
          {"came_back", chain.came_back},
          {"metrics", metrics},
          {"words", lives},
          {"samples", samples}};
}

}  // namespace readback::workflow
