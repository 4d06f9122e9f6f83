#include "readback/score/pairwise.h"

#include <gtest/gtest.h>

#include <cmath>

namespace readback::score {
namespace {

// The length of the candidate's text minus that of the original's; undefined where there is no original.
class LengthMetric : public Metric {
 public:
  const MetricInfo& info() const override { return info_; }
  std::vector<double> score(std::span<const Comparison> comparisons, const Context& /*context*/) override {
    calls.push_back(comparisons.size());
    std::vector<double> values;
    for (const Comparison& c : comparisons) {
      const auto candidate = static_cast<double>(c.candidate_text.size());
      values.push_back(c.original_text.empty() ? NAN : candidate - static_cast<double>(c.original_text.size()));
    }
    return values;
  }
  std::vector<size_t> calls;

 private:
  MetricInfo info_{"length", "Length", "|a| - |b|", Direction::kLowerIsBetter, Inputs::kTexts, ""};
};

Comparison texts(const std::string& candidate, const std::string& original) {
  Comparison comparison;
  comparison.candidate_text = candidate;
  comparison.original_text = original;
  return comparison;
}

TEST(Pairwise, AveragesASamplesComparisonsAndKeepsRandomPairsApart) {
  std::vector<std::unique_ptr<Metric>> metrics;
  metrics.push_back(std::make_unique<LengthMetric>());
  const std::vector<std::vector<Comparison>> own = {{texts("abc", "a"), texts("abc", "ab")},
                                                    {texts("ab", "")},
                                                    {texts("a", "a")},
                                                    {texts("", "abc")},
                                                    {texts("a", "")}};
  Progress progress;
  std::vector<std::pair<int64_t, int64_t>> asked;
  const auto scores = score_pairwise(
      metrics, 5, 2,
      [&](int64_t first, int64_t last) {
        asked.emplace_back(first, last);
        PairBatch batch;
        for (int64_t i = first; i < last; ++i) {
          batch.own.push_back(own[i]);
          batch.random.push_back(texts("abcd", std::string(static_cast<size_t>(i + 1), 'x')));
        }
        return batch;
      },
      progress);
  EXPECT_EQ(asked, (std::vector<std::pair<int64_t, int64_t>>{{0, 2}, {2, 4}, {4, 5}}));
  ASSERT_EQ(scores.size(), 1u);
  ASSERT_EQ(scores[0].own.size(), 5u);
  EXPECT_EQ(scores[0].own[0], 1.5);
  EXPECT_TRUE(std::isnan(scores[0].own[1]) && std::isnan(scores[0].own[4]));
  EXPECT_EQ(scores[0].own[2], 0);
  EXPECT_EQ(scores[0].own[3], -3);
  EXPECT_EQ(scores[0].random, (std::vector<double>{3, 2, 1, 0, -1}));
  EXPECT_EQ(dynamic_cast<LengthMetric&>(*metrics[0]).calls, (std::vector<size_t>{5, 4, 2}));
}

}  // namespace
}  // namespace readback::score
