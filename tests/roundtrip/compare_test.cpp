#include "readback/roundtrip/compare.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "fakes.h"

namespace readback::roundtrip {
namespace {

const score::MetricInfo kImage{"image", "Image", "f", score::Direction::kLowerIsBetter, score::Inputs::kImages, "repo"};
const score::MetricInfo kText{"text", "Text", "g", score::Direction::kHigherIsBetter, score::Inputs::kReferences, ""};

struct Candidate {
  double image = 0, text = 0;  // distance, quality; NaN: not measured
};
struct Sample {
  std::string id;
  std::vector<Candidate> candidates;
  std::string domain = "";
  std::vector<std::string> references = {"one"};
};

class Compare : public testing::Test {
 protected:
  // Candidate c of a sample says "SAMPLE RUN c".
  const Store& add(
      const std::vector<Sample>& samples, const std::vector<score::MetricInfo>& metrics = {kImage, kText},
      const std::function<void(Manifest&)>& change = [](Manifest&) {}) {
    RunOptions options = fakes::options(static_cast<int64_t>(samples.front().candidates.size()));
    options.directions = {Direction::kI2T2I};
    Manifest manifest = fakes::manifest(options);
    change(manifest);
    const std::string run = std::to_string(runs.size());
    Store store = Store::open_for_writing(folder_.path() / std::to_string(made_++), manifest);
    for (const score::MetricInfo& metric : metrics) store.put_metric(metric);
    std::vector<SampleRow> rows;
    for (const Sample& sample : samples) {
      rows.push_back({sample.id, std::ssize(rows), "", sample.references, "", sample.domain});
    }
    store.add_samples(rows);
    for (const Sample& sample : samples) {
      for (size_t c = 0; c < sample.candidates.size(); ++c) {
        CandidateRow row{.key = {Direction::kI2T2I, sample.id, static_cast<int64_t>(c)}};
        row.text = sample.id + " " + run + " " + std::to_string(c);
        row.image = "images/" + std::to_string(c) + ".png";
        store.put_candidates({&row, 1});
        std::vector<ScoreRow> scores;
        for (const auto& [metric, value] :
             {std::pair("image", sample.candidates[c].image), std::pair("text", sample.candidates[c].text)}) {
          if (!std::isnan(value)) scores.push_back({row.key, metric, value});
        }
        store.put_scores(scores, {});
      }
    }
    runs.push_back(std::move(store));
    return runs.back();
  }
  static const ComparedMetric& row(const RunComparison& result, const std::string& metric,
                                   const std::string& domain = "") {
    for (const ComparedMetric& each : result.metrics) {
      if (each.metric.name == metric && each.domain == domain) return each;
    }
    throw std::runtime_error("no " + metric + " of " + domain);
  }
  template <typename Error>
  std::string error_of(const CompareOptions& options = {}) {
    try {
      compare(runs, 0, options);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  std::vector<Store> runs;

 private:
  fakes::Folder folder_;
  int made_ = 0;
};

TEST_F(Compare, TestsPairsOfSamples) {
  add({{"a", {{1, 5}, {3, 5}}}, {"b", {{4, 6}, {4, 6}}}, {"c", {{6, 7}, {6, 7}}}});
  add({{"c", {{9, 7}, {9, 7}}}, {"b", {{6, 5}, {6, 5}}}, {"a", {{3, 6}, {3, 6}}}});  // in another order
  const RunComparison result = compare(runs);
  EXPECT_EQ(result.samples, 3);
  EXPECT_EQ(result.runs[1].alone, 0);
  EXPECT_TRUE(result.differences.empty());
  ASSERT_EQ(result.metrics.size(), 2u);
  const ComparedMetric& image = row(result, "image");
  EXPECT_EQ(image.role, Role::kDistance);
  EXPECT_DOUBLE_EQ(image.values[0].mean, 4);  // 2, 4, 6
  EXPECT_DOUBLE_EQ(image.values[1].mean, 6);  // 3, 6, 9
  EXPECT_FALSE(image.tests[0]);
  EXPECT_DOUBLE_EQ(image.tests[1]->difference.mean, 2);
  EXPECT_EQ(image.tests[1]->difference.low, 1);  // three times the least or the largest of 1, 2, 3: one draw in 27
  EXPECT_EQ(image.tests[1]->difference.high, 3);
  EXPECT_EQ(image.tests[1]->difference.count, 3);
  EXPECT_EQ(image.tests[1]->p, 0.25);  // two of the eight swaps are as far apart
  const ComparedMetric& text = row(result, "text");
  EXPECT_EQ(text.role, Role::kQuality);
  EXPECT_DOUBLE_EQ(text.tests[1]->difference.mean, 0);  // 1, -1, 0
  EXPECT_EQ(text.tests[1]->p, 1);
  EXPECT_EQ(image.tests[1]->p_holm, 0.5);  // of two tests
  EXPECT_EQ(text.tests[1]->p_holm, 1);
}

TEST_F(Compare, TheBaselineMayBeAnyRunAndHolmCountsAllTests) {
  for (const double shift : {0.0, 1.0, 3.0}) {
    std::vector<Sample> samples;
    for (int s = 0; s < 6; ++s) samples.push_back({std::to_string(s), {{s + shift, 0}}});
    add(samples, {kImage});
  }
  const RunComparison result = compare(runs, 1);
  EXPECT_EQ(result.baseline, 1u);
  const ComparedMetric& image = row(result, "image");
  EXPECT_DOUBLE_EQ(image.tests[0]->difference.mean, -1);
  EXPECT_FALSE(image.tests[1]);
  EXPECT_DOUBLE_EQ(image.tests[2]->difference.mean, 2);
  EXPECT_EQ(image.tests[0]->p, 2.0 / 64);
  EXPECT_EQ(image.tests[0]->p_holm, 4.0 / 64);
  EXPECT_EQ(image.tests[2]->p_holm, 4.0 / 64);
  EXPECT_THROW(compare(runs, 3), UsageError);
}

TEST_F(Compare, ACandidateStandsForItsSample) {
  add({{"a", {{0.5, 1}, {0.1, 3}, {0.0, 11}}}, {"b", {{0.2, 4}, {0.7, 8}, {0.9, 3}}}});
  add({{"a", {{0.5, 2}, {0.1, 4}, {0.0, 12}}}, {"b", {{0.2, 5}, {0.7, 9}, {0.9, 4}}}});
  const auto mean = [&](const CompareOptions& options) {
    return row(compare(runs, 0, options), "text").values[0].mean;
  };
  EXPECT_DOUBLE_EQ(mean({}), 5);                                                       // 5, 5
  EXPECT_DOUBLE_EQ(mean({.candidates = 2}), 4);                                        // 2, 6
  EXPECT_DOUBLE_EQ(mean({.candidate = CandidateValue::kFirst}), 2.5);                  // 1, 4
  EXPECT_DOUBLE_EQ(mean({.candidate = CandidateValue::kBest}), 7.5);                   // by image: 11, 4
  EXPECT_DOUBLE_EQ(mean({.candidate = CandidateValue::kBest, .candidates = 2}), 3.5);  // 3, 4
  EXPECT_DOUBLE_EQ(mean({.candidate = CandidateValue::kBest, .by = "text"}), 9.5);     // 11, 8
  EXPECT_NE(error_of<UsageError>({.by = "text"}).find("by: expected candidate to be best"), std::string::npos);
  EXPECT_NE(error_of<UsageError>({.candidate = CandidateValue::kBest, .by = "words"}).find("\"words\""),
            std::string::npos);
}

TEST_F(Compare, DomainsAreTestedByThemselves) {
  add({{"a", {{1, 0}}, "near"}, {"b", {{2, 0}}, "far"}, {"c", {{3, 0}}, "near"}, {"d", {{3, 0}}, "far"}}, {kImage});
  add({{"a", {{2, 0}}, "near"}, {"b", {{7, 0}}, "far"}, {"c", {{4, 0}}, "near"}}, {kImage});
  EXPECT_EQ(compare(runs).metrics.size(), 1u);
  const RunComparison result = compare(runs, 0, {.by_domain = true});
  ASSERT_EQ(result.metrics.size(), 3u);
  EXPECT_EQ(result.metrics[1].domain, "near");
  EXPECT_DOUBLE_EQ(row(result, "image").tests[1]->difference.mean, 7 / 3.0);
  EXPECT_DOUBLE_EQ(row(result, "image", "near").tests[1]->difference.mean, 1);
  EXPECT_EQ(row(result, "image", "near").tests[1]->p, 0.5);
  EXPECT_EQ(row(result, "image").tests[1]->p_holm, 0.75);  // 0.25 of three tests
  EXPECT_EQ(row(result, "image", "far").values[0].count, 1);
  EXPECT_EQ(row(result, "image", "far").values[1].mean, 7);
  EXPECT_EQ(result.runs[0].alone, 1);
}

TEST_F(Compare, DomainsThatNoSampleHasAreRefused) {
  for (int i = 0; i < 2; ++i) add({{"a", {{1, 0}}, "near"}, {"b", {{2, 0}}, "near"}});
  EXPECT_NE(error_of<UsageError>({.by_domain = true}).find("by_domain: expected samples of several domains"),
            std::string::npos);
}

TEST_F(Compare, SamplesThatNotAllHaveAreLeftOutAndCounted) {
  add({{"a", {{1, 0}}}, {"b", {{2, 0}}}, {"c", {{3, 0}}}, {"d", {{4, 0}}, "", {"two"}}}, {kImage});
  add({{"b", {{5, 0}}}, {"a", {{2, 0}}}, {"d", {{9, 0}}, "", {"other"}}, {"e", {{1, 0}}}, {"f", {{1, 0}}}}, {kImage});
  const RunComparison result = compare(runs);
  EXPECT_EQ(result.samples, 2);
  EXPECT_EQ(result.runs[0].alone, 2);
  EXPECT_EQ(result.runs[1].alone, 3);
  EXPECT_EQ(result.other_texts, 1);
  EXPECT_DOUBLE_EQ(row(result, "image").values[0].mean, 1.5);
  EXPECT_DOUBLE_EQ(row(result, "image").tests[1]->difference.mean, 2);
  EXPECT_TRUE(result.notes.empty());
}

TEST_F(Compare, ASampleWithoutAValueInOneRunCountsInNone) {
  add({{"a", {{1, 0}}}, {"b", {{NAN, 0}}}, {"c", {{3, 0}}}}, {kImage});
  add({{"a", {{1, 0}}}, {"b", {{2, 0}}}, {"c", {{5, 0}}}}, {kImage});
  const ComparedMetric image = row(compare(runs), "image");
  EXPECT_EQ(image.values[1].count, 2);
  EXPECT_DOUBLE_EQ(image.values[1].mean, 3);
}

TEST_F(Compare, RunsThatShareNothingAreRefused) {
  add({{"a", {{1, 0}}}});
  EXPECT_NE(error_of<UsageError>().find("expected two or more, got 1"), std::string::npos);
  add({{"b", {{1, 0}}}});
  EXPECT_NE(error_of<DataError>().find("expected samples that all of them have, got none"), std::string::npos);
  runs.pop_back();
  add({{"a", {{1, 0}}, "", {"another"}}});
  EXPECT_NE(error_of<DataError>().find("1 of the same ids with other references"), std::string::npos);
}

TEST_F(Compare, MetricsThatDifferAreLeftOutAndSaid) {
  add({{"a", {{1, 2}}}});
  score::MetricInfo other = kImage;
  other.checkpoint = "another";
  add({{"a", {{1, 2}}}}, {other, kText});
  const RunComparison result = compare(runs);
  ASSERT_EQ(result.metrics.size(), 1u);
  EXPECT_EQ(result.metrics[0].metric.name, "text");
  ASSERT_EQ(result.left_out.size(), 1u);
  EXPECT_EQ(result.left_out[0].first, "image");
  EXPECT_NE(result.left_out[0].second.find("by another, the baseline by repo"), std::string::npos);
  const std::string refused = error_of<DataError>({.metrics = {"image"}});
  EXPECT_NE(refused.find("a direction and a metric that all of them have, got image: "), std::string::npos) << refused;
  EXPECT_NE(error_of<UsageError>({.metrics = {"words"}}).find("some of image, text, got \"words\""), std::string::npos);
  EXPECT_EQ(compare(runs, 0, {.metrics = {"text"}}).left_out.size(), 0u);
  EXPECT_THROW(disagreements(runs[0], runs[1], Direction::kI2T2I, "image", 1), UsageError);
  EXPECT_NO_THROW(disagreements(runs[0], runs[1], Direction::kI2T2I, "text", 1));
}

TEST_F(Compare, SaysInWhatTheRunsDiffer) {
  add({{"a", {{1, 2}}}});
  add({{"a", {{1, 2}}}}, {kImage, kText}, [](Manifest& manifest) { manifest.options["sampling"]["top_p"] = 0.5; });
  add({{"a", {{1, 2}}}}, {kImage, kText}, [](Manifest& manifest) {
    manifest.options["seed"] = 7;
    manifest.options.erase("reading");  // a run from before that option: its default was in force
    manifest.device = "cuda";
    manifest.digests["captioner"] = "other";
  });
  const RunComparison result = compare(runs);
  std::map<std::string, std::vector<std::string>> found;
  for (const RunDifference& difference : result.differences) found[difference.name] = difference.values;
  EXPECT_EQ(found["sampling.top_p"], (std::vector<std::string>{"0.9", "0.5", "0.9"}));
  EXPECT_EQ(found["seed"], (std::vector<std::string>{"0", "0", "7"}));
  EXPECT_EQ(found["device"], (std::vector<std::string>{"\"cpu\"", "\"cpu\"", "\"cuda\""}));
  EXPECT_EQ(found["contents of the captioner"], (std::vector<std::string>{"\"c\"", "\"c\"", "\"other\""}));
}

TEST_F(Compare, CiderOfOtherSamplesIsNoted) {
  score::MetricInfo cider = kText;
  cider.name = "cider";
  add({{"a", {{1, 2}}}}, {kImage, cider});
  add({{"a", {{1, 2}}}, {"b", {{1, 2}}}}, {kImage, cider});
  const RunComparison result = compare(runs);
  ASSERT_EQ(result.notes.size(), 1u);
  EXPECT_NE(result.notes[0].find("document frequencies"), std::string::npos);
}

TEST_F(Compare, ListsWhereRunsDisagreeMost) {
  add({{"a", {{1, 0}, {2, 0}}}, {"b", {{5, 0}, {7, 0}}, "near"}, {"c", {{3, 0}, {3, 0}}}, {"d", {{8, 0}, {8, 0}}}});
  add({{"a", {{2, 0}, {2, 0}}}, {"b", {{1, 0}, {1, 0}}, "near"}, {"c", {{3, 0}, {3, 0}}}, {"e", {{0, 0}, {0, 0}}}});
  const auto all = disagreements(runs[0], runs[1], Direction::kI2T2I, "image", 10);
  ASSERT_EQ(all.size(), 2u);  // c is equal, d and e have no counterpart
  EXPECT_EQ(all[0].sample, "b");
  EXPECT_EQ(all[0].domain, "near");
  EXPECT_EQ(all[0].prompt, "one");
  EXPECT_DOUBLE_EQ(all[0].difference, -5);
  EXPECT_DOUBLE_EQ(all[0].baseline.value, 6);
  EXPECT_EQ(all[0].baseline.text, "b 0 0");
  EXPECT_EQ(all[0].other.text, "b 1 0");
  EXPECT_EQ(all[1].sample, "a");
  EXPECT_EQ(disagreements(runs[0], runs[1], Direction::kI2T2I, "image", 1).size(), 1u);
  const auto first = disagreements(runs[0], runs[1], Direction::kI2T2I, "image", 1,
                                   {.candidate = CandidateValue::kBest, .by = "random"});
  ASSERT_EQ(first.size(), 1u);
  const auto& chosen = first[0].baseline;
  EXPECT_EQ(chosen.text, "b 0 " + std::to_string(chosen.candidate));
  EXPECT_EQ(chosen.image, "images/" + std::to_string(chosen.candidate) + ".png");
  EXPECT_DOUBLE_EQ(chosen.value, chosen.candidate == 0 ? 5 : 7);
  EXPECT_THROW(disagreements(runs[0], runs[1], Direction::kI2T2I, "words", 1), UsageError);
}

}  // namespace
}  // namespace readback::roundtrip
