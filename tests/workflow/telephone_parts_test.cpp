// The arithmetic of what is left, and what each round is compared to.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "forgetful.h"
#include "readback/base/files.h"
#include "readback/workflow/telephone_drift.h"
#include "readback/workflow/telephone_summary.h"

namespace readback::workflow {
namespace {

using roundtrip::Direction;
using roundtrip::Store;
using score::Inputs;

Rounds constant(size_t rounds, size_t samples, double value) {
  return Rounds(rounds, std::vector<double>(samples, value));
}

TEST(HalfLife, IsInterpolatedBetweenRounds) {
  const Rounds values = {{9, 11}, {7, 9}, {3, 5}};                                                // means 10, 8, 4
  const HalfLife half = half_life(values, constant(3, 2, 2), score::Direction::kHigherIsBetter);  // leads 8, 6, 2
  EXPECT_DOUBLE_EQ(half.rounds, 1.5);
  EXPECT_LE(half.low, 1.5);
  EXPECT_GE(half.high, 1.5);
  Rounds distances = values, far = constant(3, 2, -2);
  for (auto& round : distances) {
    for (double& value : round) value = -value;
  }
  EXPECT_DOUBLE_EQ(half_life(distances, far, score::Direction::kLowerIsBetter).rounds, 1.5);
}

TEST(HalfLife, IsOfTheLeadOverRandomPairsOfTheSameRound) {
  const Rounds values = {{10, 10}, {8, 8}, {6, 6}}, floors = {{2, 2}, {4, 4}, {6, 6}};  // leads 8, 4, 0
  EXPECT_DOUBLE_EQ(half_life(values, floors, score::Direction::kHigherIsBetter).rounds, 1);
}

TEST(HalfLife, MayLieBeyondTheRoundsOrNotBe) {
  const auto higher = score::Direction::kHigherIsBetter;
  EXPECT_TRUE(std::isinf(half_life({{4, 6}, {4, 6}}, constant(2, 2, 0), higher).rounds));
  EXPECT_TRUE(std::isnan(half_life({{1, 1}, {0, 0}}, constant(2, 2, 3), higher).rounds));
  EXPECT_TRUE(std::isnan(half_life({{}, {}}, {{}, {}}, higher).rounds));
  // Half of the samples lose everything in the second round, half nothing: some resamples do not get there.
  const HalfLife half = half_life({{1, 1, 1, 1}, {1, 1, 0, 0}, {1, 1, 0, 0}}, constant(3, 4, 0), higher);
  EXPECT_DOUBLE_EQ(half.rounds, 1);
  EXPECT_TRUE(std::isinf(half.high));
  EXPECT_LT(half.low, 1);
}

TEST(ContentWords, AreWhatIsSaidWithoutWhatJoinsIt) {
  EXPECT_EQ(content_words("A fox is above the Fox, and left of 2 rockets; on a blue background!"),
            (std::vector<std::string>{"2", "above", "background", "blue", "fox", "left", "rockets"}));
  EXPECT_EQ(content_words("the of ... --"), std::vector<std::string>{});
  EXPECT_DOUBLE_EQ(surviving(content_words("a red fox"), "the FOX"), 0.5);
  EXPECT_TRUE(std::isnan(surviving({}, "a fox")));
}

TEST(WordLives, EndWithTheFirstRoundThatLacksTheWord) {
  const auto lives = word_lives({"red fox", "red cat"}, {{"red fox", "cat"}, {"fox", "red cat"}, {"red fox", "cat"}});
  ASSERT_EQ(lives.size(), 3u);
  EXPECT_EQ(lives[0].word, "cat");
  EXPECT_DOUBLE_EQ(lives[0].mean_rounds, 3);
  EXPECT_DOUBLE_EQ(lives[0].alive, 1);
  EXPECT_EQ(lives[1].word, "fox");
  EXPECT_EQ(lives[2].word, "red");  // one round in the first, none in the second, though it came back
  EXPECT_EQ(lives[2].samples, 2);
  EXPECT_DOUBLE_EQ(lives[2].mean_rounds, 0.5);
  EXPECT_DOUBLE_EQ(lives[2].alive, 0);
}

// Keeps what it is asked; fails for candidates that say `refused`.
class Listener : public score::Metric {
 public:
  explicit Listener(Inputs inputs)
      : info_{"listener", "Listener", "1", score::Direction::kHigherIsBetter, inputs, "", ""} {}
  const score::MetricInfo& info() const override { return info_; }
  std::vector<double> score(std::span<const score::Comparison> comparisons, const Context&) override {
    for (const score::Comparison& comparison : comparisons) {
      if (!refused.empty() && comparison.candidate_text == refused) throw DataError("it cannot be measured");
      heard.push_back(comparison);
      if (comparison.original_image) counts.push_back(forgetful::count_of(*comparison.original_image));
    }
    return std::vector<double>(comparisons.size(), 1);
  }
  std::string refused;
  std::vector<score::Comparison> heard;
  std::vector<int> counts;  // of the words in the originals' pictures

 private:
  score::MetricInfo info_;
};

// Two rounds of two samples, the second measured against the start.
class Drift : public testing::Test {
 protected:
  Listener& listen(Inputs inputs, Direction direction, const forgetful::Dataset& dataset,
                   const std::string& refused = "") {
    forgetful::Captioner captioner;
    forgetful::Generator generator;
    roundtrip::RunOptions options = roundtrip::fakes::options(1);
    options.directions = {direction};
    for (const char* round : {"1", "2"}) {
      if (!std::filesystem::exists(folder_.path() / round)) {
        roundtrip::fakes::run(folder_.path() / round, options, dataset, captioner, generator);
      }
    }
    metrics_.clear();
    metrics_.push_back(std::make_unique<Listener>(inputs));
    auto& listener = static_cast<Listener&>(*metrics_.front());
    listener.refused = refused;
    const Store first = Store::open(folder_.path() / "1"), second = Store::open(folder_.path() / "2");
    const Context context;
    values_ = DriftMeter(direction, first, metrics_, context).measure(second, folder_.path() / "drift.json");
    corpus_ = DriftMeter::corpus(direction, first);
    return listener;
  }
  roundtrip::fakes::Folder folder_;
  std::vector<std::unique_ptr<score::Metric>> metrics_;
  StartValues values_;
  std::vector<std::vector<std::string>> corpus_;
};

TEST_F(Drift, TextsAreComparedToTheFirstCaption) {
  const Listener& ears = listen(Inputs::kTexts, Direction::kI2T2I, forgetful::Dataset(2));
  ASSERT_EQ(ears.heard.size(), 4u);  // each sample against its own start and the other's
  EXPECT_EQ(ears.heard[0].original_text, forgetful::words(0, 6));
  EXPECT_EQ(ears.heard[1].original_text, forgetful::words(1, 6));
  EXPECT_EQ(ears.heard[1].candidate_text, ears.heard[0].candidate_text);
}

TEST_F(Drift, ReferencesAreTheFirstRoundsOrWithoutAnyTheFirstCaption) {
  forgetful::Dataset dataset(2);
  EXPECT_EQ(listen(Inputs::kReferences, Direction::kI2T2I, dataset).heard[0].references,
            std::vector{forgetful::words(0, 7)});
  EXPECT_EQ(corpus_[1], std::vector{forgetful::words(1, 7)});
}

TEST_F(Drift, WithoutReferencesTheFirstCaptionIsOne) {
  forgetful::Dataset dataset(2);
  dataset.texts = false;
  EXPECT_EQ(listen(Inputs::kReferences, Direction::kI2T2I, dataset).heard[0].references,
            std::vector{forgetful::words(0, 6)});
  EXPECT_EQ(corpus_[1], std::vector{forgetful::words(1, 6)});
}

TEST_F(Drift, PicturesAreComparedToTheOneItBeganWith) {
  EXPECT_EQ(listen(Inputs::kImages, Direction::kT2I2T, forgetful::Dataset(2)).counts, std::vector<int>(4, 7));
}

TEST_F(Drift, WhatWasMeasuredIsNotMeasuredAgainAndFailuresHaveNoValue) {
  const forgetful::Dataset dataset(2);
  listen(Inputs::kTexts, Direction::kI2T2I, dataset, forgetful::words(1, 6));
  EXPECT_EQ(values_.at("listener").at("a0").value, 1);
  EXPECT_EQ(values_.at("listener").at("a0").floor, 1);
  EXPECT_EQ(values_.at("listener").at("a1").value, std::nullopt);
  EXPECT_TRUE(listen(Inputs::kTexts, Direction::kI2T2I, dataset).heard.empty());
  write_file(folder_.path() / "drift.json", R"({"listener": {"a0": 1}})");
  EXPECT_THROW(listen(Inputs::kTexts, Direction::kI2T2I, dataset), DataError);
}

}  // namespace
}  // namespace readback::workflow
