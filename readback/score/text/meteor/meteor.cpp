#include "readback/score/text/meteor/meteor.h"

#include <cmath>
#include <numeric>

#include "readback/base/error.h"

namespace readback::score {

namespace {

// The English parameters of METEOR 1.5's ranking task, its default.
constexpr double kAlpha = 0.85, kBeta = 0.20, kGamma = 0.60, kDelta = 0.75;
constexpr std::array<double, kMeteorStages> kStageWeights = {1.0, 0.6, 0.8, 0.6};

double weighted_length(const MeteorSide& side) {
  return kDelta * static_cast<double>(side.length - side.function_words) +
         (1 - kDelta) * static_cast<double>(side.function_words);
}

double weighted_matches(const MeteorSide& side) {
  double sum = 0;
  for (size_t i = 0; i < kMeteorStages; ++i)
    sum += static_cast<double>(side.content_matches[i]) * kStageWeights[i] * kDelta;
  for (size_t i = 0; i < kMeteorStages; ++i) {
    sum += static_cast<double>(side.function_matches[i]) * kStageWeights[i] * (1 - kDelta);
  }
  return sum;
}

void count_words(MeteorSide& side, const MeteorSentence& sentence) {
  side.length = static_cast<int64_t>(sentence.words.size());
  for (const MeteorWord* word : sentence.words) side.function_words += word->is_function_word;
}

void count_match(MeteorSide& side, const MeteorSentence& sentence, int start, int length, MeteorStage stage) {
  for (int i = start; i < start + length; ++i) {
    ++(sentence.words[i]->is_function_word ? side.function_matches : side.content_matches)[stage];
  }
}

// Chunks: runs of matches that are adjacent and in the same order on both sides.
int64_t count_chunks(std::span<const MeteorMatch> matches) {
  int64_t chunks = 0;
  const MeteorMatch* last = nullptr;
  for (const MeteorMatch& match : matches) {
    const bool continues = last && match.start == last->start + last->length &&
                           match.hypothesis_start == last->hypothesis_start + last->hypothesis_length;
    chunks += !continues;
    last = &match;
  }
  return chunks;
}

}  // namespace

int64_t MeteorSide::matches() const {
  return std::accumulate(content_matches.begin(), content_matches.end(), int64_t{0}) +
         std::accumulate(function_matches.begin(), function_matches.end(), int64_t{0});
}

MeteorSide& MeteorSide::operator+=(const MeteorSide& other) {
  length += other.length;
  function_words += other.function_words;
  for (size_t i = 0; i < kMeteorStages; ++i) {
    content_matches[i] += other.content_matches[i];
    function_matches[i] += other.function_matches[i];
  }
  return *this;
}

bool MeteorStatistics::is_one_chunk() const {
  return chunks == 1 && hypothesis.matches() == hypothesis.length && reference.matches() == reference.length;
}

MeteorStatistics& MeteorStatistics::operator+=(const MeteorStatistics& other) {
  hypothesis += other.hypothesis;
  reference += other.reference;
  if (!other.is_one_chunk()) chunks += other.chunks;
  return *this;
}

double meteor(const MeteorStatistics& statistics) {
  const double precision = weighted_matches(statistics.hypothesis) / weighted_length(statistics.hypothesis);
  const double recall = weighted_matches(statistics.reference) / weighted_length(statistics.reference);
  const double mean = 1 / ((1 - kAlpha) / precision + kAlpha / recall);
  const double matched = static_cast<double>(statistics.hypothesis.matches() + statistics.reference.matches()) / 2;
  const double fragmentation = statistics.is_one_chunk() ? 0 : static_cast<double>(statistics.chunks) / matched;
  const double score = mean * (1 - kGamma * std::pow(fragmentation, kBeta));
  return std::isnan(score) ? 0 : std::max(score, 0.0);
}

double corpus_meteor(std::span<const MeteorStatistics> sentences) {
  MeteorStatistics total;
  for (const MeteorStatistics& sentence : sentences) total += sentence;
  return meteor(total);
}

MeteorScore Meteor::score(std::string_view hypothesis, std::span<const std::string> references) {
  if (references.empty()) throw DataError(describe("METEOR", "at least one reference text", "none"));
  const MeteorSentence candidate = lexicon_.analyse(hypothesis);
  MeteorScore best;
  best.score = -1;
  for (const std::string& text : references) {
    const MeteorSentence reference = lexicon_.analyse(text);
    const auto matches = aligner_.align(candidate, reference);
    MeteorStatistics statistics;
    count_words(statistics.hypothesis, candidate);
    count_words(statistics.reference, reference);
    for (const MeteorMatch& match : matches) {
      count_match(statistics.hypothesis, candidate, match.hypothesis_start, match.hypothesis_length, match.stage);
      count_match(statistics.reference, reference, match.start, match.length, match.stage);
    }
    statistics.chunks = count_chunks(matches);
    if (const double score = meteor(statistics); score > best.score) best = {score, statistics};
  }
  return best;
}

}  // namespace readback::score
