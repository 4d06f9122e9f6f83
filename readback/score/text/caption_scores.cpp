#include "readback/score/text/caption_scores.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <future>

#include "readback/base/error.h"
#include "readback/score/registry.h"
#include "readback/score/text/bleu.h"
#include "readback/score/text/cider.h"
#include "readback/score/text/meteor/meteor.h"
#include "readback/score/text/rouge.h"
#include "readback/score/text/spice/spice.h"
#include "readback/text/ptb_tokenizer.h"

namespace readback::score {

namespace {

// What the metrics read: PTB tokens (ROUGE-L, METEOR), and the words that BLEU and CIDEr make of them.
struct TokenizedCaptions {
  std::vector<Tokens> candidates, candidate_words;
  std::vector<std::vector<Tokens>> references, reference_words;
};

std::vector<std::vector<Tokens>> tokenize_references(const std::vector<std::vector<std::string>>& references) {
  std::vector<std::string> all;
  for (const auto& list : references) all.insert(all.end(), list.begin(), list.end());
  std::vector<Tokens> tokens = text::ptb_tokens(all);
  std::vector<std::vector<Tokens>> result;
  auto next = std::make_move_iterator(tokens.begin());
  for (const auto& list : references) {
    result.emplace_back(next, next + static_cast<std::ptrdiff_t>(list.size()));
    next += static_cast<std::ptrdiff_t>(list.size());
  }
  return result;
}

std::vector<Tokens> words_of(const std::vector<Tokens>& texts) {
  std::vector<Tokens> words;
  for (const Tokens& tokens : texts) words.push_back(split_tokens(tokens));
  return words;
}

std::string joined(const Tokens& tokens) { return fmt::format("{}", fmt::join(tokens, " ")); }

TokenizedCaptions tokenize(const data::MatchedCaptions& captions) {
  TokenizedCaptions result;
  auto candidates = std::async(std::launch::async, [&] { return text::ptb_tokens(captions.candidates); });
  result.references = tokenize_references(captions.references);
  for (const auto& list : result.references) result.reference_words.push_back(words_of(list));
  result.candidates = candidates.get();
  result.candidate_words = words_of(result.candidates);
  return result;
}

CaptionScore described(const std::string& name, const std::string& how, std::vector<double> samples) {
  const MetricInfo& info = find_metric(name);
  return {name, info.title, info.formula + "; " + how, std::move(samples)};
}

CaptionScoreGroup mean_score(const std::string& name, const std::string& how, std::vector<double> samples) {
  CaptionScoreGroup group;
  group.aggregate = aggregate_means({samples});
  group.scores.push_back(described(name, how, std::move(samples)));
  return group;
}

CaptionScoreGroup score_bleu(const TokenizedCaptions& captions) {
  CaptionScoreGroup group;
  constexpr int64_t kWidth = 2 * kMaxOrder + 2;
  group.aggregate.width = kWidth;
  std::array<std::vector<double>, kMaxOrder> samples;
  for (size_t i = 0; i < captions.candidate_words.size(); ++i) {
    const BleuCounts counts = count_bleu(captions.candidate_words[i], captions.reference_words[i]);
    auto& rows = group.aggregate.rows;
    for (const int64_t count : counts.matches) rows.push_back(static_cast<double>(count));
    for (const int64_t count : counts.guesses) rows.push_back(static_cast<double>(count));
    rows.push_back(static_cast<double>(counts.candidate_length));
    rows.push_back(static_cast<double>(counts.reference_length));
    const auto values = bleu(counts);
    for (int k = 0; k < kMaxOrder; ++k) samples[k].push_back(values[k]);
  }
  group.aggregate.values = [](std::span<const double> sums, int64_t) {
    BleuCounts counts;
    for (int k = 0; k < kMaxOrder; ++k) {
      counts.matches[k] = std::llround(sums[k]);
      counts.guesses[k] = std::llround(sums[kMaxOrder + k]);
    }
    counts.candidate_length = std::llround(sums[2 * kMaxOrder]);
    counts.reference_length = std::llround(sums[2 * kMaxOrder + 1]);
    const auto values = bleu(counts);
    return std::vector<double>(values.begin(), values.end());
  };
  for (int k = 0; k < kMaxOrder; ++k) {
    group.scores.push_back(described(fmt::format("bleu-{}", k + 1), "of the set: from counts summed over captions",
                                     std::move(samples[k])));
  }
  return group;
}

constexpr int64_t kMeteorSide = 2 + 2 * kMeteorStages, kMeteorWidth = 2 * kMeteorSide + 1;

void append_side(std::vector<double>& row, const MeteorSide& side) {
  row.push_back(static_cast<double>(side.length));
  row.push_back(static_cast<double>(side.function_words));
  for (const int64_t count : side.content_matches) row.push_back(static_cast<double>(count));
  for (const int64_t count : side.function_matches) row.push_back(static_cast<double>(count));
}

MeteorSide read_side(std::span<const double> row) {
  MeteorSide side;
  side.length = std::llround(row[0]);
  side.function_words = std::llround(row[1]);
  for (int i = 0; i < kMeteorStages; ++i) {
    side.content_matches[i] = std::llround(row[2 + i]);
    side.function_matches[i] = std::llround(row[2 + kMeteorStages + i]);
  }
  return side;
}

CaptionScoreGroup score_meteor(const TokenizedCaptions& captions) {
  Meteor scorer(MeteorTables::load());
  CaptionScoreGroup group;
  group.aggregate.width = kMeteorWidth;
  std::vector<double> samples;
  std::vector<std::string> references;
  for (size_t i = 0; i < captions.candidates.size(); ++i) {
    references.clear();
    for (const Tokens& tokens : captions.references[i]) references.push_back(joined(tokens));
    const MeteorScore score = scorer.score(joined(captions.candidates[i]), references);
    samples.push_back(score.score);
    MeteorStatistics row;  // += leaves the chunks of perfect matches out, as the corpus score does
    row += score.statistics;
    append_side(group.aggregate.rows, row.hypothesis);
    append_side(group.aggregate.rows, row.reference);
    group.aggregate.rows.push_back(static_cast<double>(row.chunks));
  }
  group.aggregate.values = [](std::span<const double> sums, int64_t) {
    const MeteorStatistics statistics = {read_side(sums.subspan(0, kMeteorSide)),
                                         read_side(sums.subspan(kMeteorSide, kMeteorSide)),
                                         std::llround(sums[2 * kMeteorSide])};
    return std::vector<double>{meteor(statistics)};
  };
  group.scores.push_back(described("meteor", "of the set: from counts summed over captions", std::move(samples)));
  return group;
}

CaptionScoreGroup score_rouge(const TokenizedCaptions& captions) {
  std::vector<double> samples;
  for (size_t i = 0; i < captions.candidates.size(); ++i) {
    samples.push_back(rouge_l(captions.candidates[i], captions.references[i]));
  }
  return mean_score("rouge-l", "mean over captions", std::move(samples));
}

CaptionScoreGroup score_cider(const TokenizedCaptions& captions, const std::string& name,
                              const std::optional<StoredFrequencies>& stored) {
  DocumentFrequencies counted;
  if (!stored) {
    for (const auto& references : captions.reference_words) counted.add(references);
  }
  const DocumentFrequencies& frequencies = stored ? stored->frequencies : counted;
  std::vector<double> samples;
  for (size_t i = 0; i < captions.candidate_words.size(); ++i) {
    samples.push_back(cider(captions.candidate_words[i], captions.reference_words[i], frequencies,
                            name == "cider-plain" ? CiderVariant::kPlain : CiderVariant::kD));
  }
  return mean_score(name,
                    "mean over captions" + (stored ? "; document frequencies here: " + stored->source : std::string()),
                    std::move(samples));
}

CaptionScoreGroup score_spice(const TokenizedCaptions& captions, const Context& context) {
  std::vector<SpiceInput> inputs;
  for (size_t i = 0; i < captions.candidates.size(); ++i) {
    inputs.push_back({joined(captions.candidates[i]), {}});
    for (const Tokens& tokens : captions.references[i]) inputs.back().references.push_back(joined(tokens));
  }
  CaptionScoreGroup group;
  group.aggregate.width = 2;  // SPICE and whether there is one
  std::vector<double> samples;
  size_t scored = 0;
  std::string failure;
  for (const SpiceScore& score : Spice().score(inputs, context)) {
    samples.push_back(score.f());
    const bool good = score.failure.empty();
    if (!good && failure.empty()) failure = score.failure;
    scored += good;
    group.aggregate.rows.insert(group.aggregate.rows.end(), {good ? samples.back() : 0, good ? 1.0 : 0.0});
  }
  group.aggregate.values = [](std::span<const double> sums, int64_t) { return std::vector{sums[0] / sums[1]}; };
  const std::string how =
      failure.empty()
          ? "mean over captions"
          : fmt::format("mean over the {} captions that it could score; the first other one: {}", scored, failure);
  group.scores.push_back(described("spice", how, std::move(samples)));
  return group;
}

std::string nothing() { return {}; }

std::string missing_meteor_tables() {
  if (has_meteor_tables()) return {};
  try {
    MeteorTables::load();
  } catch (const DataError& error) {
    return error.what();
  }
  return {};
}

std::string missing_spice() { return spice_absence(); }

// What all metrics of a call are given.
struct Given {
  TokenizedCaptions captions;
  const CaptionScoreOptions& options;
  const Context& context;
};

struct CaptionMetric {
  const char* name;  // what CaptionScoreOptions::metrics calls it
  CaptionScoreGroup (*score)(const Given&);
  // Why this machine cannot compute it; empty when it can.
  std::string (*missing)() = nothing;
};

// The metrics of sets of captions, in the order of help texts. Every line of their results has its title and formula
// from the registry.
constexpr CaptionMetric kCaptionMetrics[] = {
    {"bleu", [](const Given& in) { return score_bleu(in.captions); }},
    {"meteor", [](const Given& in) { return score_meteor(in.captions); }, missing_meteor_tables},
    {"rouge", [](const Given& in) { return score_rouge(in.captions); }},
    {"rouge-l", [](const Given& in) { return score_rouge(in.captions); }},  // the registry's name for it
    {"cider", [](const Given& in) { return score_cider(in.captions, "cider", in.options.frequencies); }},
    {"cider-d", [](const Given& in) { return score_cider(in.captions, "cider-d", in.options.frequencies); }},
    {"cider-plain", [](const Given& in) { return score_cider(in.captions, "cider-plain", in.options.frequencies); }},
    {"spice", [](const Given& in) { return score_spice(in.captions, in.context); }, missing_spice},
};

const CaptionMetric& find_caption_metric(const std::string& name) {
  for (const CaptionMetric& metric : kCaptionMetrics) {
    if (name == metric.name) return metric;
  }
  throw UsageError(
      describe("metrics", fmt::format("some of {}", fmt::join(caption_metrics(), ", ")), "\"" + name + "\""));
}

}  // namespace

std::vector<std::string> caption_metrics() {
  std::vector<std::string> names;
  for (const CaptionMetric& metric : kCaptionMetrics) names.emplace_back(metric.name);
  return names;
}

CaptionScores score_captions(const data::MatchedCaptions& captions, const CaptionScoreOptions& options,
                             const Context& context) {
  CaptionScores result;
  std::vector<const CaptionMetric*> metrics;
  for (const std::string& name : options.metrics) {
    const CaptionMetric& metric = find_caption_metric(name);
    const std::string reason = metric.missing();
    if (reason.empty()) {
      metrics.push_back(&metric);
    } else {
      result.absent.emplace_back(name, reason);
    }
  }
  const Given given{tokenize(captions), options, context};
  std::vector<std::future<CaptionScoreGroup>> futures;
  for (const CaptionMetric* metric : metrics) {
    futures.push_back(std::async(std::launch::async, metric->score, std::cref(given)));
  }
  for (size_t i = 0; i < futures.size(); ++i) {
    try {
      result.groups.push_back(futures[i].get());
    } catch (const SpiceUnusable& error) {
      result.absent.emplace_back(metrics[i]->name, error.what());
    }
  }
  return result;
}

DocumentFrequencies document_frequencies(const data::CaptionFile& references) {
  DocumentFrequencies frequencies;
  for (const auto& tokens : tokenize_references(references.captions)) frequencies.add(words_of(tokens));
  return frequencies;
}

double word_coverage(const data::MatchedCaptions& captions, const DocumentFrequencies& frequencies) {
  std::vector<Ngram> words;
  for (const auto& references : tokenize_references(captions.references)) {
    for (const Tokens& tokens : words_of(references)) {
      for (const NgramCount& entry : count_ngrams(tokens)) {
        if (entry.order == 1) words.push_back(entry.ngram);
      }
    }
  }
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  if (words.empty()) return 1;
  const auto known = std::ranges::count_if(words, [&](const Ngram& word) { return frequencies.frequency(word) > 0; });
  return static_cast<double>(known) / static_cast<double>(words.size());
}

}  // namespace readback::score
