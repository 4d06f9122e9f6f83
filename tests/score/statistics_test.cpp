#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/random.h"
#include "readback/score/statistics/bootstrap.h"
#include "readback/score/statistics/correlation.h"
#include "readback/score/statistics/significance.h"
#include "tests/source_dir.h"

namespace readback::score {
namespace {

using nlohmann::json;

const json& golden() {
  static const json value = read_json(tests::source_dir() / "tests/goldens/score/statistics.json");
  return value;
}

TEST(Correlations, EqualScipys) {
  ASSERT_EQ(golden()["correlations"].size(), 7u);
  for (const json& entry : golden()["correlations"]) {
    const auto x = entry["x"].get<std::vector<double>>(), y = entry["y"].get<std::vector<double>>();
    EXPECT_NEAR(pearson(x, y), entry["pearson"].get<double>(), 1e-12) << x.size();
    EXPECT_NEAR(spearman(x, y), entry["spearman"].get<double>(), 1e-12) << x.size();
    EXPECT_NEAR(kendall_tau_b(x, y), entry["kendall_b"].get<double>(), 1e-12) << x.size();
    EXPECT_NEAR(kendall_tau_c(x, y), entry["kendall_c"].get<double>(), 1e-12) << x.size();
  }
}

TEST(Correlations, AreUndefinedForConstants) {
  const std::vector<double> x = {1, 2, 3}, constant = {0.1, 0.1, 0.1};
  for (const auto correlation : {pearson, spearman, kendall_tau_b, kendall_tau_c}) {
    EXPECT_TRUE(std::isnan(correlation(x, constant)));
    EXPECT_TRUE(std::isnan(correlation(constant, x)));
    EXPECT_TRUE(std::isnan(correlation({}, {})));
    EXPECT_TRUE(std::isnan(correlation(std::span(x).first(1), std::span(x).first(1))));
  }
}

TEST(Correlations, KendallIsFastEnoughForWholeDataSets) {
  Random random(3, Purpose::kTest, "tau");
  std::vector<double> x(200'000), y(200'000);
  for (size_t i = 0; i < x.size(); ++i) x[i] = random.normal(), y[i] = x[i] + random.normal();
  // For a bivariate normal distribution tau = 2/π asin(correlation), here 1/2.
  EXPECT_NEAR(kendall_tau_b(x, y), 0.5, 0.01);
}

// Every row of a group comes as often as the group was drawn, so ten copies of each row change no interval.
TEST(Correlations, AreResampledByGroups) {
  Random random(4, Purpose::kTest, "groups");
  std::vector<double> x, y, copies_x, copies_y;
  std::vector<int64_t> group, copies_group;
  for (int64_t i = 0; i < 60; ++i) {
    x.push_back(static_cast<double>(random.below(20)));
    y.push_back(x.back() + static_cast<double>(random.below(30)));
    group.push_back(i);
    for (int copy = 0; copy < 10; ++copy) {
      copies_x.push_back(x.back());
      copies_y.push_back(y.back());
      copies_group.push_back(i);
    }
  }
  const BootstrapOptions options{.resamples = 300, .method = BootstrapMethod::kBca};
  const Correlations found = bootstrap_correlations(x, y, group, 60, options);
  const Correlations copied = bootstrap_correlations(copies_x, copies_y, copies_group, 60, options);
  EXPECT_EQ(found.pearson.mean, pearson(x, y));
  EXPECT_EQ(found.spearman.mean, spearman(x, y));
  EXPECT_EQ(found.kendall_tau_b.mean, kendall_tau_b(x, y));
  EXPECT_EQ(found.kendall_tau_c.mean, kendall_tau_c(x, y));
  for (const auto member :
       {&Correlations::pearson, &Correlations::spearman, &Correlations::kendall_tau_b, &Correlations::kendall_tau_c}) {
    EXPECT_EQ((found.*member).count, 60);
    EXPECT_LT((found.*member).low, (found.*member).mean);
    EXPECT_GT((found.*member).high, (found.*member).mean);
    EXPECT_NEAR((copied.*member).low, (found.*member).low, 1e-12);
    EXPECT_NEAR((copied.*member).high, (found.*member).high, 1e-12);
  }
  // Single rows are as narrow as ten times the data would be.
  std::vector<int64_t> rows(600);
  std::iota(rows.begin(), rows.end(), int64_t{0});
  const Interval narrow = bootstrap_correlations(copies_x, copies_y, rows, 600, options).kendall_tau_b;
  EXPECT_LT(narrow.high - narrow.low, 0.5 * (found.kendall_tau_b.high - found.kendall_tau_b.low));
  EXPECT_THROW(bootstrap_correlations(x, y, group, 59), DataError);
  EXPECT_THROW(bootstrap_correlations(x, y, copies_group, 60), DataError);
}

// A resample's value is that of the list with its rows repeated.
TEST(Correlations, OfDrawnRowsAreThoseOfTheRepeatedRows) {
  const std::vector<double> x = {3, 1, 4, 1, 5, 9, 2, 6}, y = {2, 7, 1, 8, 2, 8, 1, 8};
  const std::vector<int64_t> group = {0, 0, 1, 1, 1, 2, 2, 0};
  const BootstrapOptions one{.resamples = 1, .confidence = 0.5, .seed = 6};
  const Correlations found = bootstrap_correlations(x, y, group, 3, one);
  std::vector<double> drawn_x, drawn_y;
  Random random(6, Purpose::kBootstrap);
  for (int draw = 0; draw < 3; ++draw) {
    const int64_t drawn = static_cast<int64_t>((uint64_t{random.next()} * 3) >> 32);
    for (size_t i = 0; i < x.size(); ++i) {
      if (group[i] != drawn) continue;
      drawn_x.push_back(x[i]);
      drawn_y.push_back(y[i]);
    }
  }
  EXPECT_NEAR(found.pearson.low, pearson(drawn_x, drawn_y), 1e-12);
  EXPECT_NEAR(found.spearman.low, spearman(drawn_x, drawn_y), 1e-12);
  EXPECT_NEAR(found.kendall_tau_b.low, kendall_tau_b(drawn_x, drawn_y), 1e-12);
  EXPECT_NEAR(found.kendall_tau_c.low, kendall_tau_c(drawn_x, drawn_y), 1e-12);
}

TEST(Quantile, EqualsNumpys) {
  const auto values = golden()["quantiles"]["values"].get<std::vector<double>>();
  for (size_t i = 0; i < golden()["quantiles"]["q"].size(); ++i) {
    EXPECT_NEAR(quantile(values, golden()["quantiles"]["q"][i].get<double>()),
                golden()["quantiles"]["expected"][i].get<double>(), 1e-12);
  }
  EXPECT_TRUE(std::isnan(quantile({}, 0.5)));
}

TEST(Bootstrap, IntervalsAreScipysUpToResamplingNoise) {
  for (const json& entry : golden()["bootstraps"]) {
    const auto values = entry["values"].get<std::vector<double>>();
    const Interval found = bootstrap_mean(values, {.resamples = 20'000});
    EXPECT_NEAR(found.mean, entry["mean"].get<double>(), 1e-12);
    EXPECT_EQ(found.count, static_cast<int64_t>(values.size()));
    const double noise = 0.05 * entry["standard_error"].get<double>();
    EXPECT_NEAR(found.low, entry["low"].get<double>(), noise);
    EXPECT_NEAR(found.high, entry["high"].get<double>(), noise);
  }
}

Aggregate aggregate_of(const json& rows, const std::string& statistic) {
  Aggregate aggregate{2, {}, {}};
  for (const json& row : rows) {
    const double value = row[0];
    aggregate.rows.push_back(statistic == "share above 1" ? value > 1 : value);
    aggregate.rows.push_back(row[1]);
  }
  aggregate.values = [statistic](std::span<const double> sums, int64_t samples) {
    return std::vector<double>{sums[0] / (statistic == "ratio" ? sums[1] : static_cast<double>(samples))};
  };
  return aggregate;
}

TEST(Bootstrap, IntervalsAreScipysOfTheSameResamples) {
  ASSERT_EQ(golden()["intervals"].size(), 6u);
  for (const json& entry : golden()["intervals"]) {
    const std::string statistic = entry["statistic"];
    const Aggregate aggregate = aggregate_of(entry["rows"], statistic);
    for (const auto& [name, method] :
         {std::pair{"percentile", BootstrapMethod::kPercentile}, std::pair{"BCa", BootstrapMethod::kBca}}) {
      const std::vector<Interval> found =
          bootstrap(aggregate, {entry["resamples"], entry["confidence"], entry["seed"], method});
      ASSERT_EQ(found.size(), 1u);
      EXPECT_NEAR(found[0].mean, entry["value"].get<double>(), 1e-12) << statistic;
      EXPECT_NEAR(found[0].low, entry[name][0].get<double>(), 1e-12) << statistic << ", " << name;
      EXPECT_NEAR(found[0].high, entry[name][1].get<double>(), 1e-12) << statistic << ", " << name;
      EXPECT_EQ(found[0].count, aggregate.samples());
    }
  }
}

TEST(Bootstrap, SumsManyColumnsAsItSumsOne) {
  Random random(2, Purpose::kTest, "columns");
  for (const size_t width : {1u, 5u, 16u, 23u, 40u}) {
    std::vector<std::vector<double>> columns(width, std::vector<double>(30));
    for (auto& column : columns) {
      for (double& value : column) value = random.normal();
    }
    const std::vector<Interval> together = bootstrap_means(columns, {.resamples = 50});
    for (size_t c = 0; c < width; ++c) {
      const Interval alone = bootstrap_mean(columns[c], {.resamples = 50});
      EXPECT_EQ(together[c].mean, alone.mean) << width;
      EXPECT_EQ(together[c].low, alone.low) << width;
      EXPECT_EQ(together[c].high, alone.high) << width;
    }
  }
}

TEST(Bootstrap, IsReproducibleAndFollowsItsSeed) {
  std::vector<double> values(50);
  std::iota(values.begin(), values.end(), 0.0);
  const Interval a = bootstrap_mean(values), b = bootstrap_mean(values), c = bootstrap_mean(values, {.seed = 1});
  EXPECT_EQ(a.low, b.low);
  EXPECT_EQ(a.high, b.high);
  EXPECT_NE(a.low, c.low);
  const Interval narrow = bootstrap_mean(values, {.confidence = 0.5});
  EXPECT_LT(narrow.high - narrow.low, a.high - a.low);
}

TEST(Bootstrap, DegenerateInputs) {
  EXPECT_TRUE(std::isnan(bootstrap_mean({}).mean));
  EXPECT_EQ(bootstrap_mean({}).count, 0);
  const std::vector<double> one = {3};
  EXPECT_EQ(bootstrap_mean(one).low, 3);
  EXPECT_EQ(bootstrap_mean(one).high, 3);
  EXPECT_EQ(bootstrap_mean(one, {.method = BootstrapMethod::kBca}).low, 3);
  EXPECT_TRUE(bootstrap_means({}).empty());
  EXPECT_EQ(bootstrap_means({{}, {}}).size(), 2u);
  EXPECT_TRUE(std::isnan(bootstrap_means({{}, {}})[1].low));
  Aggregate ragged = aggregate_means({{1, 2, 3}, {4, 5, 6}});
  ragged.rows.pop_back();
  EXPECT_THROW(bootstrap(ragged), DataError);
}

// A ratio is undefined for the resamples that have none of the second rows.
TEST(Bootstrap, LeavesOutResamplesWithoutAValue) {
  Aggregate aggregate{2, {1, 0, 0, 1, 0, 1}, [](std::span<const double> sums, int64_t) {
                        return std::vector<double>{sums[1] > 0 ? sums[0] / sums[1] : std::nan("")};
                      }};
  const Interval found = bootstrap(aggregate).front();
  EXPECT_EQ(found.mean, 0.5);
  EXPECT_EQ(found.low, 0);
  EXPECT_EQ(found.high, 2);
}

TEST(Bootstrap, PairedDifferencesSeeThroughCommonVariation) {
  Random random(5, Purpose::kTest, "pairs");
  std::vector<double> a(100), b(100);
  for (size_t i = 0; i < a.size(); ++i) b[i] = 10 * random.normal(), a[i] = b[i] + 0.5 + 0.1 * random.normal();
  const Interval difference = paired_difference(a, b);
  EXPECT_NEAR(difference.mean, 0.5, 0.05);
  EXPECT_GT(difference.low, 0.4);
  EXPECT_LT(difference.high, 0.6);

  const Interval same = paired_difference(aggregate_means({a}), aggregate_means({b})).front();
  EXPECT_NEAR(same.mean, difference.mean, 1e-12);
  EXPECT_NEAR(same.low, difference.low, 1e-12);
  EXPECT_NEAR(same.high, difference.high, 1e-12);
  EXPECT_THROW(paired_difference(aggregate_means({a}), aggregate_means({{1.0, 2.0}})), DataError);
}

TEST(Bootstrap, CoversTheTrueMeanAboutAsOftenAsItSays) {
  Random random(8, Purpose::kTest, "coverage");
  int covered = 0;
  for (int trial = 0; trial < 400; ++trial) {
    std::vector<double> values(60);
    for (double& value : values) value = random.normal();
    const Interval found = bootstrap_mean(values, {.resamples = 500, .seed = static_cast<uint64_t>(trial)});
    covered += found.low <= 0 && 0 <= found.high;
  }
  EXPECT_GT(covered, 400 * 0.90);
  EXPECT_LT(covered, 400 * 0.98);
}

TEST(PairedPermutation, EqualsScipysOverAllSwaps) {
  ASSERT_EQ(golden()["permutations"].size(), 4u);
  for (const json& entry : golden()["permutations"]) {
    for (const std::string statistic : {"mean", "ratio"}) {
      const Aggregate a = aggregate_of(entry["a"], statistic), b = aggregate_of(entry["b"], statistic);
      const double expected = entry[statistic];
      EXPECT_NEAR(paired_permutation(a, b).at(0), expected, 1e-12);
      if (a.samples() < 10) continue;
      // Of random swaps: within four standard errors.
      const double noise = 4 * std::sqrt(expected * (1 - expected) / 2000);
      EXPECT_NEAR(paired_permutation(a, b, {.permutations = 2000}).at(0), expected, noise);
    }
  }
}

TEST(PairedPermutation, SeesADifferenceAndOnlyThat) {
  Random random(9, Purpose::kTest, "systems");
  std::vector<std::vector<double>> a(2, std::vector<double>(500)), b = a;
  for (size_t i = 0; i < 500; ++i) {
    const double difficulty = 5 * random.normal();
    for (size_t c = 0; c < 2; ++c) {
      a[c][i] = difficulty + random.normal();
      b[c][i] = difficulty + random.normal() + (c == 1 ? 0.5 : 0);
    }
  }
  const PermutationOptions options{.permutations = 1000};
  const auto p = paired_permutation(aggregate_means(a), aggregate_means(b), options);
  ASSERT_EQ(p.size(), 2u);
  EXPECT_GT(p[0], 0.05);
  EXPECT_EQ(p[1], 1.0 / 1001);  // no swap comes near
  EXPECT_EQ(paired_permutation(aggregate_means(a), aggregate_means(a), options), (std::vector<double>{1, 1}));
  EXPECT_NE(paired_permutation(aggregate_means(a), aggregate_means(b), {.permutations = 1000, .seed = 1})[0], p[0]);
  EXPECT_TRUE(std::isnan(paired_permutation(aggregate_means({{}}), aggregate_means({{}})).at(0)));
  EXPECT_THROW(paired_permutation(aggregate_means(a), aggregate_means({{1, 2}, {3, 4}})), DataError);
}

TEST(Holm, StepsDown) {
  const std::vector<double> p = {0.01, 0.04, 0.03, 0.005}, adjusted = holm(p), expected = {0.03, 0.06, 0.06, 0.02};
  for (size_t i = 0; i < p.size(); ++i) EXPECT_NEAR(adjusted[i], expected[i], 1e-15);
  EXPECT_EQ(holm(std::vector<double>{0.9, 0.8}), (std::vector<double>{1, 1}));
  EXPECT_TRUE(holm({}).empty());
  const auto with_nan = holm(std::vector<double>{0.02, std::nan(""), 0.5});
  EXPECT_EQ(with_nan[0], 0.04);
  EXPECT_TRUE(std::isnan(with_nan[1]));
  EXPECT_EQ(with_nan[2], 0.5);
}

TEST(RandomPartners, NobodyMeetsThemselves) {
  for (int64_t n : {2, 3, 10, 101}) {
    std::vector<int64_t> partners = random_partners(n, 7);
    for (int64_t i = 0; i < n; ++i) EXPECT_NE(partners[i], i);
    std::sort(partners.begin(), partners.end());
    for (int64_t i = 0; i < n; ++i) EXPECT_EQ(partners[i], i);
  }
  EXPECT_EQ(random_partners(1, 7), std::vector<int64_t>{0});
  EXPECT_NE(random_partners(10, 7), random_partners(10, 8));
}

}  // namespace
}  // namespace readback::score
