#include "readback/roundtrip/curves.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "fakes.h"

namespace readback::roundtrip {
namespace {

const score::MetricInfo kImage{"image", "", "", score::Direction::kLowerIsBetter, score::Inputs::kImages, ""};
const score::MetricInfo kText{"text", "", "", score::Direction::kHigherIsBetter, score::Inputs::kReferences, ""};

// A store with given scores: rows[sample][candidate] = {image distance, text quality}.
Store store_of(const std::filesystem::path& folder, const std::vector<std::vector<std::pair<double, double>>>& rows,
               const std::vector<std::string>& domains = {}) {
  RunOptions options = fakes::options(static_cast<int64_t>(rows.front().size()));
  options.directions = {Direction::kI2T2I};
  Store store = Store::open_for_writing(folder, fakes::manifest(options));
  store.put_metric(kImage);
  store.put_metric(kText);
  std::vector<SampleRow> samples;
  std::vector<ScoreRow> scores;
  for (size_t s = 0; s < rows.size(); ++s) {
    // ids against the order
    samples.push_back(
        {std::to_string(9 - s), static_cast<int64_t>(s), "", {}, "", domains.empty() ? std::string() : domains[s]});
    for (size_t c = 0; c < rows[s].size(); ++c) {
      const CandidateKey key{Direction::kI2T2I, samples.back().id, static_cast<int64_t>(c)};
      scores.push_back({key, "image", rows[s][c].first});
      std::optional<double> quality;
      if (!std::isnan(rows[s][c].second)) quality = rows[s][c].second;
      scores.push_back({key, "text", quality});
    }
  }
  store.add_samples(samples);
  store.put_scores(scores, {});
  return store;
}

TEST(RankCurves, SortEachSamplesCandidatesByDistance) {
  fakes::Folder folder;
  // Nearest to farthest: sample 0: candidates 2, 0, 1; sample 1: a tie, so 0, 2, 1.
  const Store store = store_of(folder, {{{0.5, 20}, {0.9, 10}, {0.1, 30}}, {{0.2, 7}, {0.4, 5}, {0.2, 6}}});
  const auto ranked = rankings(store, Direction::kI2T2I, "image");
  ASSERT_EQ(ranked.size(), 2u);
  EXPECT_EQ(ranked[0].sample, "9");
  EXPECT_EQ(ranked[0].candidates, (std::vector<int64_t>{2, 0, 1}));
  EXPECT_EQ(ranked[0].distances, (std::vector<double>{0.1, 0.5, 0.9}));
  EXPECT_EQ(ranked[1].candidates, (std::vector<int64_t>{0, 2, 1}));
  EXPECT_TRUE(rankings(store, Direction::kI2T2I, "unknown").empty());

  const auto curves = rank_curves(store);
  ASSERT_EQ(curves.size(), 1u);
  const RankCurve& curve = curves.front();
  EXPECT_EQ(curve.distance.name, "image");
  EXPECT_EQ(curve.quality.name, "text");
  ASSERT_EQ(curve.ranks.size(), 3u);
  EXPECT_DOUBLE_EQ(curve.ranks[0].mean, (30 + 7) / 2.0);
  EXPECT_DOUBLE_EQ(curve.ranks[1].mean, (20 + 6) / 2.0);
  EXPECT_DOUBLE_EQ(curve.ranks[2].mean, (10 + 5) / 2.0);
  EXPECT_DOUBLE_EQ(curve.difference.mean, (20 + 2) / 2.0);
  EXPECT_EQ(curve.difference.low, 2);  // resampled by samples: between the two differences
  EXPECT_EQ(curve.difference.high, 20);
  EXPECT_EQ(curve.samples, 2);
  // Within samples: 1, and (nearness ranks 2.5 1 2.5 against 3 1 2) √3 / 2.
  EXPECT_NEAR(curve.spearman_within.mean, (1 + std::sqrt(3) / 2) / 2, 1e-12);
  // The same with Kendall's: 1, and 2 pairs that agree of 3, one of them tied on the left: 2 / √(2 · 3).
  EXPECT_NEAR(curve.kendall_within.mean, (1 + 2 / std::sqrt(6)) / 2, 1e-12);
  EXPECT_NEAR(curve.kendall_within.low, 2 / std::sqrt(6), 1e-12);
  EXPECT_EQ(curve.kendall_within.count, 2);
}

TEST(RankCurves, HigherIsBetterDistancesPutTheLargestFirst) {
  fakes::Folder folder;
  Store store = store_of(folder, {{{0.5, 20}, {0.9, 10}, {0.1, 30}}});
  store.put_metric({"likeness", "", "", score::Direction::kHigherIsBetter, score::Inputs::kImageTruth, ""});
  std::vector<ScoreRow> scores;
  for (int64_t c = 0; c < 3; ++c) scores.push_back({{Direction::kI2T2I, "9", c}, "likeness", static_cast<double>(c)});
  store.put_scores(scores, {});
  EXPECT_EQ(rankings(store, Direction::kI2T2I, "likeness").at(0).candidates, (std::vector<int64_t>{2, 1, 0}));
  const auto curves = rank_curves(store);
  ASSERT_EQ(curves.size(), 2u);
  EXPECT_DOUBLE_EQ(curves[0].spearman, 1);  // image: nearer is better here
  EXPECT_DOUBLE_EQ(curves[0].kendall, 1);
  EXPECT_DOUBLE_EQ(curves[1].spearman, 0.5);  // likeness 0 1 2 against 20 10 30
  EXPECT_NEAR(curves[1].kendall, 1 / 3.0, 1e-12);
}

TEST(RankCurves, SamplesThatLackAScoreAreLeftOut) {
  fakes::Folder folder;
  const Store store = store_of(folder, {{{0.1, 3}, {0.2, 1}}, {{0.1, NAN}, {0.2, 5}}, {{0.4, 4}, {0.3, 6}}});
  const RankCurve curve = rank_curves(store).at(0);
  EXPECT_EQ(curve.samples, 2);
  EXPECT_EQ(curve.left_out, 1);
  EXPECT_DOUBLE_EQ(curve.ranks[0].mean, 4.5);
  EXPECT_EQ(sample_means(store, Direction::kI2T2I, "text").at("8"), 5);  // but its one score counts in means
}

TEST(RankCurves, ARunWithoutScoresHasNone) {
  fakes::Folder folder;
  const Store store = Store::open_for_writing(folder, fakes::manifest(fakes::options()));
  EXPECT_TRUE(rank_curves(store).empty());
  EXPECT_TRUE(summarize(store).empty());
}

TEST(Domains, KeepTheOrderOfFirstAppearance) {
  const auto names = [](const std::vector<std::string>& of_samples) {
    std::vector<SampleRow> rows;
    for (const std::string& domain : of_samples) rows.push_back({"", 0, "", {}, "", domain});
    return domains(rows);
  };
  EXPECT_EQ(names({"near", "in", "near", "out"}), (std::vector<std::string>{"near", "in", "out"}));
  EXPECT_EQ(names({"near", ""}), (std::vector<std::string>{"near"}));
  EXPECT_TRUE(names({"near", "near"}).empty());  // nothing to tell apart
  EXPECT_TRUE(names({"", ""}).empty());
}

TEST(Domains, HaveMeansAndCurvesOfTheirOwn) {
  fakes::Folder folder;
  const Store store =
      store_of(folder, {{{0.1, 3}, {0.2, 1}}, {{0.3, 2}, {0.4, 6}}, {{0.6, 7}, {0.5, NAN}}}, {"near", "out", "near"});
  EXPECT_EQ(rank_curves(store).at(0).samples, 2);
  const RankCurve near = rank_curves(store, "near").at(0), out = rank_curves(store, "out").at(0);
  EXPECT_EQ(near.samples, 1);
  EXPECT_EQ(near.left_out, 1);
  EXPECT_EQ(near.ranks[0].mean, 3);
  EXPECT_EQ(out.left_out, 0);
  EXPECT_EQ(out.difference.mean, -4);
  const auto summaries = summarize(store, "near");
  ASSERT_EQ(summaries.size(), 2u);
  EXPECT_DOUBLE_EQ(summaries[0].mean.mean, (0.15 + 0.55) / 2);
  EXPECT_DOUBLE_EQ(summaries[1].mean.mean, (2 + 7) / 2.0);
  EXPECT_EQ(summaries[0].floor.count, 0);
  EXPECT_TRUE(summarize(store, "far").empty());
  EXPECT_TRUE(rank_curves(store, "far").empty());
  const nlohmann::json json = to_json(store, summarize(store), rank_curves(store));
  ASSERT_EQ(json.at("domains").size(), 2u);
  EXPECT_EQ(json["domains"][0]["domain"], "near");
  EXPECT_EQ(json["domains"][0]["samples"], 2);
  EXPECT_EQ(json["domains"][1]["summaries"][1]["mean"]["mean"], 4);
  EXPECT_EQ(json["domains"][1]["rank_curves"][0]["difference"]["mean"], -4);
}

TEST(Roles, FollowFromTheDirection) {
  EXPECT_EQ(role(Direction::kI2T2I, score::Inputs::kImages), Role::kDistance);
  EXPECT_EQ(role(Direction::kI2T2I, score::Inputs::kImageTruth), Role::kDistance);
  EXPECT_EQ(role(Direction::kI2T2I, score::Inputs::kReferences), Role::kQuality);
  EXPECT_EQ(role(Direction::kT2I2T, score::Inputs::kImages), Role::kQuality);
  EXPECT_EQ(role(Direction::kT2I2T, score::Inputs::kTexts), Role::kDistance);
  EXPECT_EQ(role(Direction::kT2I2T, score::Inputs::kTextTruth), Role::kDistance);
}

// The generator draws what it is told, so the caption that errs least gives the nearest picture.
TEST(Loop, BetterCaptionsComeBackNearer) {
  fakes::Folder folder;
  fakes::Dataset dataset(40);
  fakes::Captioner captioner;
  fakes::Generator generator;
  fakes::run(folder, fakes::options(10, 16), dataset, captioner, generator);
  const Store store = Store::open(folder);
  const auto curves = rank_curves(store);
  ASSERT_EQ(curves.size(), 2u);
  EXPECT_EQ(curves[0].direction, Direction::kI2T2I);
  EXPECT_LT(curves[0].difference.high, 0);  // quality is an error: lower at rank 0
  EXPECT_GT(curves[0].spearman, 0.95);
  EXPECT_GT(curves[0].spearman_within.low, 0.9);
  EXPECT_GT(curves[0].kendall_within.low, 0.8);
  EXPECT_LT(curves[0].kendall_within.mean, curves[0].spearman_within.mean);
  for (size_t rank = 1; rank < 10; ++rank) EXPECT_GE(curves[0].ranks[rank].mean, curves[0].ranks[rank - 1].mean);

  const auto summaries = summarize(store);
  ASSERT_EQ(summaries.size(), 4u);
  EXPECT_EQ(summaries[0].metric.name, "shade-image");
  EXPECT_EQ(summaries[0].role, Role::kDistance);
  EXPECT_LT(summaries[0].mean.high, summaries[0].floor.low);  // understanding beats random pairs
  EXPECT_EQ(summaries[0].floor.count, 40);

  const auto json = to_json(store, summaries, curves);
  EXPECT_EQ(json.at("rank_curves").size(), 2u);
  EXPECT_EQ(json.at("rank_curves")[0].at("ranks").size(), 10u);
  EXPECT_EQ(json.at("rank_curves")[0].at("kendall_within").at("mean"), curves[0].kendall_within.mean);
  EXPECT_TRUE(json.at("rank_curves")[1].at("kendall_within").at("mean").is_null());
  EXPECT_EQ(json.at("summaries")[0].at("floor").at("samples"), 40);
  EXPECT_EQ(json.at("errors"), 0);
  EXPECT_FALSE(json.contains("domains"));
  // T2I2T comes back exactly, so nothing varies and no correlation exists.
  EXPECT_TRUE(json.at("rank_curves")[1].at("spearman").is_null());
}

}  // namespace
}  // namespace readback::roundtrip
