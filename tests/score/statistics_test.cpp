#include "readback/score/statistics/statistics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>

#include "readback/base/files.h"
#include "readback/base/random.h"

namespace readback::score {
namespace {

using nlohmann::json;

const json& golden() {
  static const json value =
      read_json(std::filesystem::path(READBACK_SOURCE_DIR) / "tests/goldens/score/statistics.json");
  return value;
}

TEST(Correlations, EqualScipys) {
  ASSERT_EQ(golden()["correlations"].size(), 7u);
  for (const json& entry : golden()["correlations"]) {
    const auto x = entry["x"].get<std::vector<double>>(), y = entry["y"].get<std::vector<double>>();
    EXPECT_NEAR(spearman(x, y), entry["spearman"].get<double>(), 1e-12) << x.size();
    EXPECT_NEAR(kendall_tau_b(x, y), entry["kendall_b"].get<double>(), 1e-12) << x.size();
    EXPECT_NEAR(kendall_tau_c(x, y), entry["kendall_c"].get<double>(), 1e-12) << x.size();
  }
}

TEST(Correlations, AreUndefinedForConstants) {
  const std::vector<double> x = {1, 2, 3}, constant = {4, 4, 4};
  for (const auto correlation : {spearman, kendall_tau_b, kendall_tau_c}) {
    EXPECT_TRUE(std::isnan(correlation(x, constant)));
    EXPECT_TRUE(std::isnan(correlation(constant, x)));
    EXPECT_TRUE(std::isnan(correlation({}, {})));
    EXPECT_TRUE(std::isnan(correlation(std::span(x).first(1), std::span(x).first(1))));
  }
}

TEST(Correlations, KendallIsFastEnoughForWholeDataSets) {
  Random random(3, "tau");
  std::vector<double> x(200'000), y(200'000);
  for (size_t i = 0; i < x.size(); ++i) x[i] = random.normal(), y[i] = x[i] + random.normal();
  // For a bivariate normal distribution tau = 2/π asin(correlation), here 1/2.
  EXPECT_NEAR(kendall_tau_b(x, y), 0.5, 0.01);
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
}

TEST(Bootstrap, PairedDifferencesSeeThroughCommonVariation) {
  Random random(5, "pairs");
  std::vector<double> a(100), b(100);
  for (size_t i = 0; i < a.size(); ++i) b[i] = 10 * random.normal(), a[i] = b[i] + 0.5 + 0.1 * random.normal();
  const Interval difference = paired_difference(a, b);
  EXPECT_NEAR(difference.mean, 0.5, 0.05);
  EXPECT_GT(difference.low, 0.4);
  EXPECT_LT(difference.high, 0.6);
}

TEST(Bootstrap, CoversTheTrueMeanAboutAsOftenAsItSays) {
  Random random(8, "coverage");
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
