#include "readback/roundtrip/choices.h"

#include <gtest/gtest.h>

#include "fakes.h"
#include "readback/base/error.h"
#include "readback/base/files.h"

namespace readback::roundtrip {
namespace {

const score::MetricInfo kNear{"near", "", "", score::Direction::kLowerIsBetter, score::Inputs::kImages, ""};
const score::MetricInfo kLike{"like", "", "", score::Direction::kHigherIsBetter, score::Inputs::kImages, ""};

struct Made {
  const char* text;
  std::optional<double> near, like;
  double log_probability = -4;  // of four tokens
};

// A run with these candidates of each sample.
Store store_of(const std::filesystem::path& folder, const std::vector<std::vector<Made>>& samples) {
  RunOptions options = fakes::options(static_cast<int64_t>(samples.front().size()));
  options.directions = {Direction::kI2T2I};
  Store store = Store::open_for_writing(folder, fakes::manifest(options));
  store.put_metric(kNear);
  store.put_metric(kLike);
  for (size_t s = 0; s < samples.size(); ++s) {
    const SampleRow sample{"s" + std::to_string(s), static_cast<int64_t>(s), "", {}, ""};
    store.add_samples(std::vector{sample});
    for (size_t c = 0; c < samples[s].size(); ++c) {
      const Made& made = samples[s][c];
      CandidateRow row{.key = {Direction::kI2T2I, sample.id, static_cast<int64_t>(c)}, .text = made.text};
      row.token_ids = std::vector<int64_t>{1, 2, 3, 4};
      row.log_probability = made.log_probability;
      row.image = "images/i2t2i/" + sample.id + ".png";
      store.put_candidates(std::vector{row});
      store.put_scores(std::vector<ScoreRow>{{row.key, "near", made.near}, {row.key, "like", made.like}}, {});
    }
  }
  return store;
}

std::vector<int64_t> order_of(const Choice& choice) {
  std::vector<int64_t> order;
  for (const Rated& rated : choice.candidates) order.push_back(rated.candidate);
  return order;
}

TEST(Choices, TheNearestIsChosenAndTheFarthestRejected) {
  fakes::Folder folder;
  const Store store =
      store_of(folder, {{{"a", 0.5, 1}, {"b", 0.2, 2}, {"c", 0.9, 3}}, {{"a", 3, 3}, {"b", 2, 1}, {"c", 1, 2}}});
  const Choices near = choose(store, Direction::kI2T2I, {.by = {"near"}});
  ASSERT_EQ(near.kept.size(), 2u);
  EXPECT_EQ(order_of(near.kept[0]), (std::vector<int64_t>{1, 0, 2}));
  EXPECT_EQ(near.kept[0].chosen, std::vector<int64_t>{1});
  EXPECT_EQ(near.kept[0].rejected, 2);
  EXPECT_EQ(near.kept[0].candidates.front().reward, -0.2);  // lower is better
  EXPECT_EQ(near.kept[1].position, 1);
  EXPECT_EQ(choose(store, Direction::kI2T2I, {.by = {"like"}}).kept[0].chosen, std::vector<int64_t>{2});
  EXPECT_EQ(near.summary(), "2 of 2 samples");
}

TEST(Choices, SeveralMetricsCountByTheirMeanRank) {
  fakes::Folder folder;
  // near: 0 best, 1, 2. like: 1 best, 2 and 0 equal. Mean ranks 0: (1 + ¼) / 2, 1: (½ + 1) / 2, 2: (0 + ¼) / 2.
  const Store store = store_of(folder, {{{"a", 1, 5}, {"b", 2, 9}, {"c", 3, 5}}});
  const Choices choices = choose(store, Direction::kI2T2I, {.by = {"near", "like"}});
  ASSERT_EQ(choices.kept.size(), 1u);
  EXPECT_EQ(order_of(choices.kept[0]), (std::vector<int64_t>{1, 0, 2}));
  EXPECT_DOUBLE_EQ(choices.kept[0].candidates[0].reward, 0.75);
  EXPECT_DOUBLE_EQ(choices.kept[0].candidates[1].reward, 0.625);
  EXPECT_DOUBLE_EQ(choices.kept[0].candidates[2].reward, 0.125);
}

TEST(Choices, WhatRepeatsTheChosenTextIsNotRejected) {
  fakes::Folder folder;
  const Store store =
      store_of(folder, {{{"a", 1, 1}, {"b", 2, 1}, {"a", 3, 1}}, {{"a", 1, 1}, {"a", 2, 1}, {"a", 3, 1}}});
  const Choices choices = choose(store, Direction::kI2T2I, {.by = {"near"}});
  ASSERT_EQ(choices.kept.size(), 2u);
  EXPECT_EQ(choices.kept[0].rejected, 1);
  EXPECT_EQ(choices.kept[1].rejected, -1);
}

TEST(Choices, WhatIsLeftOutIsCounted) {
  fakes::Folder folder;
  const Store store = store_of(folder, {{{"a", 1, 1, -2}, {"b", 2, 0, -8}},     // likely, agreed, wide
                                        {{"a", 1, 1, -8}, {"b", 2, 0, -8}},     // nobody likely
                                        {{"a", 1, 1, -2}, {"b", 1.1, 0, -2}},   // narrow
                                        {{"a", 1, 0, -2}, {"b", 2, 1, -2}},     // "like" says otherwise
                                        {{"a", 1, 1, -2}, {"b", {}, 1, -2}}});  // one without a value
  const Choices choices =
      choose(store, Direction::kI2T2I, {.by = {"near"}, .agree = {"like"}, .margin = 0.5, .min_log_probability = -1});
  ASSERT_EQ(choices.kept.size(), 1u);
  EXPECT_EQ(choices.kept[0].position, 0);
  EXPECT_EQ(choices.unlikely, 1);
  EXPECT_EQ(choices.narrow, 1);
  EXPECT_EQ(choices.disputed, 1);
  EXPECT_EQ(choices.incomplete, 1);
  EXPECT_EQ(choices.summary(),
            "1 of 5 samples; 1 incomplete, 1 too unlikely, 1 below the margin, 1 disputed by another metric");
}

TEST(Choices, EquallyGoodOnesAreAllChosen) {
  fakes::Folder folder;
  const Store store =
      store_of(folder, {{{"a", 2, 9}, {"b", 1, 9}, {"c", 3, 2}}, {{"a", 2, 9}, {"b", 1, 9}, {"c", 3, 9}}});
  const Choices choices = choose(store, Direction::kI2T2I, {.by = {"like"}});
  ASSERT_EQ(choices.kept.size(), 2u);
  EXPECT_EQ(choices.kept[0].chosen, (std::vector<int64_t>{0, 1}));
  EXPECT_EQ(choices.kept[0].rejected, 2);
  EXPECT_EQ(choices.kept[1].chosen, (std::vector<int64_t>{0, 1, 2}));
  EXPECT_EQ(choices.kept[1].rejected, -1);  // none is worse
}

TEST(Choices, OnlyWhatIsGoodEnoughIsAccepted) {
  fakes::Folder folder;
  const Store store = store_of(folder, {{{"a", 2, 9}, {"b", 1, 5}}, {{"a", 0.5, 7}, {"b", 1, 2}}});
  const Choices near = choose(store, Direction::kI2T2I, {.by = {"near"}, .accept = 0.5});  // 0.5 or lower
  ASSERT_EQ(near.kept.size(), 1u);
  EXPECT_EQ(near.kept[0].position, 1);
  EXPECT_EQ(near.poor, 1);
  const Choices like = choose(store, Direction::kI2T2I, {.by = {"like"}, .accept = 8});  // 8 or higher
  ASSERT_EQ(like.kept.size(), 1u);
  EXPECT_EQ(like.kept[0].position, 0);
  EXPECT_EQ(like.summary(), "1 of 2 samples; 1 not good enough");
}

// A kept collection says how many candidates it takes.
TEST(Choices, APartOfARunMayBeLookedAt) {
  fakes::Folder folder;
  const Store store =
      store_of(folder, {{{"a", 3, 1}, {"b", 2, 1}, {"c", 1, 1}}, {{"a", 1, 1}, {"b", 2, 1}, {"c", 3, 1}}});
  const Choices choices = choose(store, Direction::kI2T2I, {.by = {"near"}, .samples = 1, .candidates = 2});
  ASSERT_EQ(choices.kept.size(), 1u);
  EXPECT_EQ(order_of(choices.kept[0]), (std::vector<int64_t>{1, 0}));
  const Choices ranked = choose(store, Direction::kI2T2I, {.by = {"near", "likelihood"}, .candidates = 2});
  EXPECT_EQ(ranked.kept[1].candidates.size(), 2u);
}

// An unlikely candidate is not chosen, and may be rejected.
TEST(Choices, TheBestOfTheLikelyOnesIsChosen) {
  fakes::Folder folder;
  const Store store = store_of(folder, {{{"a", 1, 1, -40}, {"b", 2, 1, -2}, {"c", 3, 1, -40}}});
  const Choices choices = choose(store, Direction::kI2T2I, {.by = {"near"}, .min_log_probability = -1});
  ASSERT_EQ(choices.kept.size(), 1u);
  EXPECT_EQ(choices.kept[0].chosen, std::vector<int64_t>{1});
  EXPECT_EQ(choices.kept[0].rejected, 2);
}

TEST(Choices, ControlsAreRankingsToo) {
  fakes::Folder folder;
  std::vector<std::vector<Made>> samples(64, {{"a", 1, 1, -9}, {"b", 2, 1, -1}, {"c", 3, 1, -5}});
  const Store store = store_of(folder, samples);
  std::vector<int64_t> counts(3, 0);
  for (const Choice& choice : choose(store, Direction::kI2T2I, {.by = {kRandom}}).kept)
    ++counts[static_cast<size_t>(choice.chosen.front())];
  for (const int64_t count : counts) EXPECT_GT(count, 8);
  const auto again = choose(store, Direction::kI2T2I, {.by = {kRandom}}),
             once = choose(store, Direction::kI2T2I, {.by = {kRandom}});
  for (size_t i = 0; i < once.kept.size(); ++i) EXPECT_EQ(once.kept[i].chosen, again.kept[i].chosen);
  EXPECT_EQ(order_of(choose(store, Direction::kI2T2I, {.by = {kLikelihood}}).kept[0]), (std::vector<int64_t>{1, 2, 0}));
}

TEST(Choices, AreExportedForOthers) {
  fakes::Folder folder;
  const Store store =
      store_of(folder, {{{"a", 3, 1}, {"b", 2, 1}, {"c", 1, 1}}, {{"a", 1, 1}, {"a", 2, 1}, {"a", 3, 1}}});
  const Choices choices = choose(store, Direction::kI2T2I, {.by = {"near"}});
  const std::filesystem::path file = std::filesystem::path(folder) / "lessons.jsonl";
  export_choices(store, Direction::kI2T2I, choices, file);
  EXPECT_EQ(read_file(file),
            R"({"sample":"s0","image":"","chosen":[{"candidate":2,"reward":-1.0,"text":"c"}],)"
            R"("rejected":{"candidate":0,"reward":-3.0,"text":"a"}})"
            "\n"
            R"({"sample":"s1","image":"","chosen":[{"candidate":0,"reward":-1.0,"text":"a"}],"rejected":null})"
            "\n");
}

TEST(Choices, NeedSomethingMeasuredToChooseBy) {
  fakes::Folder folder;
  const Store store = store_of(folder, {{{"a", 1, 1}, {"b", 2, 1}}});
  EXPECT_THROW(choose(store, Direction::kI2T2I, {}), UsageError);
  EXPECT_THROW(choose(store, Direction::kI2T2I, {.by = {"cider"}}), UsageError);
  EXPECT_THROW(choose(store, Direction::kI2T2I, {.by = {"near"}, .agree = {"cider"}}), UsageError);
}

}  // namespace
}  // namespace readback::roundtrip
