#include "readback/workflow/guards.h"

#include <gtest/gtest.h>

#include "../roundtrip/fakes.h"

namespace readback::workflow {
namespace {

using roundtrip::Direction;
using roundtrip::Store;

const score::MetricInfo kReward{"reward", "Reward", "", score::Direction::kLowerIsBetter, score::Inputs::kImages,
                                "",       ""};
const score::MetricInfo kHeldOut{
    "held-out", "Held out", "", score::Direction::kHigherIsBetter, score::Inputs::kReferences, "", ""};

// A run of captions, one a sample: what they are worth varies by sample, around these means.
Store run_of(const std::filesystem::path& folder, double reward, double held_out, int distinct = 40) {
  roundtrip::RunOptions options = roundtrip::fakes::options(1);
  options.directions = {Direction::kI2T2I};
  Store store = Store::open_for_writing(folder, roundtrip::fakes::manifest(options));
  store.put_metric(kReward);
  store.put_metric(kHeldOut);
  for (int s = 0; s < 40; ++s) {
    const roundtrip::SampleRow sample{"s" + std::to_string(s), s, "", {}, ""};
    store.add_samples(std::vector{sample});
    roundtrip::CandidateRow row{.key = {Direction::kI2T2I, sample.id, 0},
                                .text = "a thing numbered " + std::to_string(s % distinct)};
    row.image = "images/i2t2i/" + sample.id + ".png";
    store.put_candidates(std::vector{row});
    const double own = 0.01 * (s % 7), noise = 0.01 * (s % 3);
    store.put_scores(std::vector<roundtrip::ScoreRow>{{row.key, "reward", reward + own + noise},
                                                      {row.key, "held-out", held_out + own - noise}},
                     std::vector<roundtrip::FloorRow>{{row.key, "reward", "other", 1 + 0.1 * (s % 5)}});
  }
  return store;
}

nlohmann::ordered_json judged(const Store& now, const Store& before, const nlohmann::ordered_json& first = {}) {
  const Judged previous{{}, before};
  return judge({{}, now}, &previous, nullptr, first, {.image_cycle = {"reward"}}, {}, {.clip = ""}, {}, {});
}

TEST(Guards, RewardAndHeldOutMetricsPartWays) {
  roundtrip::fakes::Folder a, b, c;
  const Store before = run_of(a, 0.5, 0.5), hacked = run_of(b, 0.2, 0.3), better = run_of(c, 0.2, 0.7);
  const auto parted = judged(hacked, before);
  ASSERT_EQ(parted["parted"].size(), 1u);
  const std::string sentence = parted["parted"][0];
  EXPECT_NE(sentence.find("Held out of i2t2i by -0.2"), std::string::npos) << sentence;
  EXPECT_NE(sentence.find("while the reward is better, Reward of i2t2i by -0.3"), std::string::npos) << sentence;
  ASSERT_EQ(parted["metrics"].size(), 2u);
  EXPECT_EQ(parted["metrics"][0]["role"], "reward");
  EXPECT_EQ(parted["metrics"][0]["verdict"], "better");
  EXPECT_NEAR(parted["metrics"][0]["floor"].get<double>(), 1.2, 1e-9);
  EXPECT_EQ(parted["metrics"][1]["verdict"], "worse");
  EXPECT_NEAR(parted["metrics"][1]["difference"]["mean"].get<double>(), -0.2, 1e-9);

  EXPECT_TRUE(judged(better, before)["parted"].empty());
  EXPECT_TRUE(judged(before, before)["parted"].empty());
  // Worse in both: no hacking, and no reason to go on.
  EXPECT_NE(judged(before, better)["parted"][0].get<std::string>().find("the reward is no better"), std::string::npos);
}

TEST(Guards, LostVarietyIsAReasonToStop) {
  roundtrip::fakes::Folder a, b;
  const Store many = run_of(a, 0.5, 0.5), few = run_of(b, 0.5, 0.5, 4);
  const auto first = judge({{}, many}, nullptr, nullptr, {}, {.image_cycle = {"reward"}}, {}, {.clip = ""}, {}, {});
  EXPECT_EQ(first["captions"]["distinct_texts"], 1.0);
  EXPECT_TRUE(first["parted"].empty());
  const auto now = judged(few, many, first);
  EXPECT_EQ(now["captions"]["distinct_texts"], 0.1);
  ASSERT_FALSE(now["parted"].empty());
  EXPECT_EQ(now["parted"][0], "The share of distinct captions fell from 1 to 0.1");
}

TEST(Guards, SignalIsTheDistanceFromRandomPairs) {
  roundtrip::fakes::Folder a, b;
  const auto strong = signals(run_of(a, 0.5, 0.5), {.image_cycle = {"reward", "likelihood"}});
  ASSERT_EQ(strong.size(), 1u);  // likelihood has no random pairs
  EXPECT_TRUE(strong[0].teaches(0.5));
  EXPECT_GT(strong[0].gain.low, 0);  // lower is better: positive is better all the same
  const auto none = signals(run_of(b, 1.2, 0.5), {.image_cycle = {"reward"}});
  EXPECT_FALSE(none[0].teaches(0.5)) << none[0].sentence();
  EXPECT_NE(none[0].sentence().find("random pairs 1.2"), std::string::npos) << none[0].sentence();
}

}  // namespace
}  // namespace readback::workflow
