// SPICE around a program that stands in for Java, and once with the real one.
#include "readback/score/text/spice/spice.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "fake_spice.h"
#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/score/registry.h"
#include "readback/score/statistics/bootstrap.h"
#include "readback/score/text/caption_scores.h"
#include "readback/score/text/spice/prepare.h"
#include "readback/text/ptb_tokenizer.h"
#include "tests/source_dir.h"

namespace readback::score {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class FakeSpice : public testing::Test {
 protected:
  std::vector<SpiceScore> score(const std::vector<std::string>& candidates, double patience = 1) const {
    std::vector<SpiceInput> inputs;
    for (const std::string& candidate : candidates) inputs.push_back({candidate, {"a dog", "a cat"}});
    SpiceOptions options;
    options.batch_size = 4;
    options.patience = patience;
    Progress silent;
    return Spice(options).score(inputs, silent);
  }
  std::vector<int> calls() const { return folder_.calls(); }

  SpiceFolder folder_;
};

TEST_F(FakeSpice, ComputesFFromCounts) {
  const SpiceScore score = this->score({"n3"}).at(0);
  EXPECT_EQ(score.failure, "");
  EXPECT_DOUBLE_EQ(score.precision(), 3.0 / 4);
  EXPECT_DOUBLE_EQ(score.recall(), 3.0 / 5);
  EXPECT_DOUBLE_EQ(score.f(), 2.0 / 3);
  EXPECT_DOUBLE_EQ(score.f(SpiceCategory::kObject), 6.0 / 7);
  EXPECT_TRUE(std::isnan(score.f(SpiceCategory::kColor)));  // the references have none
  EXPECT_TRUE(std::isnan(score.recall(SpiceCategory::kSize)));
  EXPECT_EQ(this->score({"n0"}).at(0).f(), 0);
  const auto options = read_file(folder_.root / "bin/options");
  for (const char* package : {"java.lang", "java.math", "java.net", "java.text", "java.util", "java.util.concurrent"}) {
    EXPECT_NE(options.find(fmt::format("--add-opens=java.base/{}=ALL-UNNAMED", package)), std::string::npos);
  }
}

TEST_F(FakeSpice, ScoresInBatchesAndEqualCaptionsOnce) {
  const auto scores = score({"n1", "n2", "n1", "n3", "n4", "n5", "n6"});
  EXPECT_EQ(calls(), (std::vector<int>{4, 2}));
  for (size_t i = 0; i < scores.size(); ++i) {
    const int matched = std::vector<int>{1, 2, 1, 3, 4, 5, 6}[i];
    EXPECT_EQ(scores[i].table[0], (SpiceCounts{matched, 1, 2})) << i;
  }
  EXPECT_DOUBLE_EQ(corpus_spice(scores), [&] {
    double sum = 0;
    for (const SpiceScore& score : scores) sum += score.f();
    return sum / 7;
  }());
}

TEST_F(FakeSpice, DoesNotStartJavaForWhatItKnows) {
  const auto first = score({"n1", "n2", "n3"});
  EXPECT_EQ(calls(), std::vector<int>{3});
  const auto second = score({"n3", "n1", "n2"});
  EXPECT_EQ(calls(), std::vector<int>{3});
  EXPECT_EQ(second.at(0).table, first.at(2).table);
  score({"n1", "n4"});
  EXPECT_EQ(calls(), (std::vector<int>{3, 1}));

  Progress silent;
  const SpiceInput turned{"n1", {"a cat", "a dog"}};  // other references
  Spice().score(std::span(&turned, 1), silent);
  EXPECT_EQ(calls(), (std::vector<int>{3, 1, 1}));
}

TEST_F(FakeSpice, PassesOverDamagedLinesOfItsCache) {
  const fs::path file = spice_cache_folder() / "scores.txt";
  score({"n1", "n2"});
  // The second result is cut off within its last number.
  const std::string whole = read_file(file);
  write_file(file, "not a line\n" + whole.substr(0, whole.size() - 3));
  EXPECT_EQ(score({"n1", "n2"}).at(1).table[0], (SpiceCounts{2, 1, 2}));
  EXPECT_EQ(calls(), (std::vector<int>{2, 1}));
  score({"n1", "n2"});
  EXPECT_EQ(calls(), (std::vector<int>{2, 1}));
}

TEST_F(FakeSpice, WorksWithoutACacheThatCanBeWritten) {
  write_file(folder_.root / "cache", "a file where the folder should be");
  EXPECT_EQ(score({"n5"}).at(0).table[0].matched, 5);
  EXPECT_EQ(score({"n5"}).at(0).table[0].matched, 5);
  EXPECT_EQ(calls(), (std::vector<int>{1, 1}));
}

TEST_F(FakeSpice, KeepsAFailureToItsCaption) {
  const std::map<std::string, std::string> reasons = {
      {"poison", "java.lang.IllegalStateException: poison (exit status 1)"},
      {"crash", "no message (exit status 139)"},
      {"heap", "java.lang.OutOfMemoryError: Java heap space"},
      {"garbage", "results that are not as expected"},
      {"fewer", "0 results for 1 captions"},
      {"nothing", "no results"}};
  for (const auto& [word, reason] : reasons) {
    folder_.forget();
    const auto scores = score({"n1", "n2", word, "n4"});
    // All, then the check that the program works, then halves: [n1 n2], [word n4], [word], [n4].
    EXPECT_EQ(calls(), (std::vector<int>{4, 1, 2, 2, 1, 1})) << word;
    EXPECT_NE(scores[2].failure.find(reason), std::string::npos) << scores[2].failure;
    EXPECT_TRUE(std::isnan(scores[2].f()));
    EXPECT_TRUE(std::isnan(scores[2].f(SpiceCategory::kObject)));
    for (const size_t i : {0, 1, 3}) {
      EXPECT_EQ(scores[i].failure, "");
      EXPECT_EQ(scores[i].table[0].matched, static_cast<int>(i) + 1);
    }
    EXPECT_DOUBLE_EQ(corpus_spice(scores), (scores[0].f() + scores[1].f() + scores[3].f()) / 3);
  }
}

TEST_F(FakeSpice, GivesUpACaptionThatTakesTooLong) {
  const auto scores = score({"n1", "sleepy", "n3"}, 0.002);  // 0.25 s and more
  EXPECT_NE(scores[1].failure.find("no answer in 0."), std::string::npos) << scores[1].failure;
  EXPECT_EQ(scores[0].table[0].matched, 1);
  EXPECT_EQ(scores[2].table[0].matched, 3);
}

TEST_F(FakeSpice, DoesNotBlameTheCaptionsForAProgramThatFails) {
  write_file(folder_.root / "bin/broken", "");
  try {
    score({"n1", "n2", "n3"});
    FAIL();
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("could not find libjvm.so (exit status 1)"), std::string::npos)
        << error.what();
  }
  EXPECT_EQ(calls(), (std::vector<int>{3, 1}));
}

TEST_F(FakeSpice, RefusesWhatTheProgramCannotTake) {
  std::string many;
  for (int i = 0; i < 10000; ++i) many += "dog ";
  Progress silent;
  const std::vector<SpiceInput> inputs = {{many, {"a dog"}}, {"a dog", {}}, {"a \xff dog", {"a dog"}}, {"", {"a dog"}}};
  const auto scores = Spice().score(inputs, silent);
  EXPECT_EQ(scores[0].failure, "a caption of 10000 words: SPICE's parser takes 200 at most");
  EXPECT_EQ(scores[1].failure, "no references");
  EXPECT_EQ(scores[2].failure, "not UTF-8");
  EXPECT_EQ(scores[3].f(), 0);
  EXPECT_EQ(calls(), std::vector<int>{1});
  EXPECT_TRUE(std::isnan(corpus_spice(std::span(scores).first(3))));
}

TEST_F(FakeSpice, SaysWhatIsMissing) {
  EXPECT_TRUE(has_spice()) << spice_absence();
  EXPECT_EQ(find_java(), folder_.java());
  {
    const Variable home("JAVA_HOME", ""), path("PATH", (folder_.root / "bin").string());
    EXPECT_TRUE(has_spice()) << spice_absence();
    const Variable nowhere("PATH", folder_.root.string());
    EXPECT_NE(spice_absence().find("no java in JAVA_HOME or PATH"), std::string::npos) << spice_absence();
    EXPECT_THROW(make_metric("spice", {}), DataError);
  }
  fs::remove(folder_.jars() / "lib/stanford-corenlp-3.6.0-models.jar");
  EXPECT_NE(spice_absence().find("got no lib/stanford-corenlp-3.6.0-models.jar. Fetch them with: readback score "
                                 "prepare-spice --package"),
            std::string::npos)
      << spice_absence();
}

TEST_F(FakeSpice, IsAMetric) {
  const auto metric = make_metric("spice", {});
  std::vector<Comparison> comparisons(3);
  comparisons[0].candidate_text = "N3.";  // tokenized
  comparisons[0].references = {"A dog."};
  comparisons[1].candidate_text = "n3";
  comparisons[1].references = {"a dog"};
  Progress silent;
  ASSERT_TRUE(metric->prefers_all_at_once());
  metric->prepare(comparisons, silent);
  const auto values = metric->score(comparisons);
  EXPECT_DOUBLE_EQ(values[0], 2.0 / 3);
  EXPECT_DOUBLE_EQ(values[1], 2.0 / 3);
  EXPECT_TRUE(std::isnan(values[2]));  // no references
  EXPECT_EQ(calls(), std::vector<int>{1});
}

TEST_F(FakeSpice, ScoresSetsOfCaptions) {
  const data::MatchedCaptions captions{
      {"1", "2", "3"}, {"N3.", "poison", "n0"}, {{"A dog.", "A cat."}, {"A dog."}, {"A dog."}}};
  CaptionScoreOptions options;
  options.metrics = {"rouge", "spice"};
  const CaptionScores scores = score_captions(captions, options);
  ASSERT_EQ(scores.groups.size(), 2U);
  const CaptionScore& spice = scores.groups[1].scores.at(0);
  EXPECT_EQ(spice.title, "SPICE");
  EXPECT_NE(spice.formula.find("mean over the 2 captions that it could score; the first other one: "
                               "java.lang.IllegalStateException: poison"),
            std::string::npos)
      << spice.formula;
  EXPECT_DOUBLE_EQ(spice.samples.at(0), 2.0 / 3);
  EXPECT_TRUE(std::isnan(spice.samples.at(1)));
  EXPECT_DOUBLE_EQ(bootstrap(scores.groups[1].aggregate).at(0).mean, 1.0 / 3);

  write_file(folder_.root / "bin/broken", "");
  folder_.forget();
  const CaptionScores without = score_captions(captions, options);
  ASSERT_EQ(without.groups.size(), 1U);
  EXPECT_EQ(without.absent.at(0).first, "spice");
  EXPECT_NE(without.absent.at(0).second.find("libjvm.so"), std::string::npos);

  fs::remove(folder_.java());
  const Variable path("PATH", "");
  EXPECT_NE(score_captions(captions, options).absent.at(0).second.find("Java 8 or later"), std::string::npos);
}

TEST_F(FakeSpice, PreparationChecksDigests) {
  const SpicePreparation preparation{folder_.jars(), {}, "file:///nowhere", folder_.root / "prepared"};
  Progress silent;
  try {
    prepare_spice(preparation, silent);
    FAIL();
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("spice-1.0.jar: expected SHA-256 6c6a73ae"), std::string::npos)
        << error.what();
  }
  EXPECT_FALSE(fs::exists(preparation.output / "spice-1.0.jar"));
}

const fs::path kShared = tests::shared_data("caption-metrics");

std::string tokens_of(const std::string& text) { return fmt::format("{}", fmt::join(text::ptb_tokens(text), " ")); }

// The programs of READBACK_SPICE with a cache of their own.
class SpiceItself : public testing::Test {
 protected:
  void SetUp() override {
    if (!std::getenv("READBACK_SPICE"))
      GTEST_SKIP() << "READBACK_SPICE names no folder of readback score prepare-spice";
    if (const std::string absence = spice_absence(); !absence.empty()) GTEST_SKIP() << absence;
    std::string name = testing::TempDir() + "readback_spice_XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    options_.cache = name;
  }
  void TearDown() override {
    if (options_.cache != spice_cache_folder()) fs::remove_all(options_.cache);
  }
  std::vector<SpiceScore> score(const std::vector<SpiceInput>& inputs) const {
    Progress silent;
    return Spice(options_).score(inputs, silent);
  }

  SpiceOptions options_;
};

TEST_F(SpiceItself, LosesOnlyTheCaptionThatItsHeapIsTooSmallFor) {
  options_.heap_megabytes = 900;
  std::string many;
  for (int i = 0; i < 15; ++i) many += "a man in a red shirt rides a brown horse ";
  const auto scores = score({{many, {"a dog"}}, {"a dog on a mat", {"a dog on a mat"}}});
  EXPECT_NE(scores[0].failure.find("java.lang.OutOfMemoryError: Java heap space"), std::string::npos)
      << scores[0].failure;
  EXPECT_EQ(scores[1].f(), 1);
}

TEST_F(SpiceItself, EqualsWhatWasPublished) {
  SKIP_WITHOUT_SHARED_DATA("caption-metrics");
  const json expected = read_json(kShared / "expected.json");
  const auto known =
      read_json(kShared / "clipscore-example/refs.json").get<std::map<std::string, std::vector<std::string>>>();
  std::vector<SpiceInput> inputs;
  for (const char* quality : {"good", "bad"}) {
    const json captions = read_json(kShared / "clipscore-example" / (std::string(quality) + "_captions.json"));
    for (const auto& [image, caption] : captions.items()) {
      inputs.push_back({tokens_of(caption), {}});
      for (const std::string& reference : known.at(image)) inputs.back().references.push_back(tokens_of(reference));
    }
  }
  const json& evaluation = expected["language_evaluation"];
  for (size_t i = 0; i < evaluation["predictions"].size(); ++i) {
    inputs.push_back({tokens_of(evaluation["predictions"][i]), {tokens_of(evaluation["references"][i][0])}});
  }
  const auto scores = score(inputs);
  const size_t images = known.size();
  ASSERT_EQ(scores.size(), 2 * images + 2);
  const auto mean = [&](size_t begin, size_t count) { return corpus_spice(std::span(scores).subspan(begin, count)); };
  EXPECT_NEAR(mean(0, images), expected["clipscore_example"]["good"]["SPICE"].get<double>(), 5.1e-5);
  EXPECT_NEAR(mean(images, images), expected["clipscore_example"]["bad"]["SPICE"].get<double>(), 5.1e-5);
  EXPECT_NEAR(mean(2 * images, 2), evaluation["SPICE"].get<double>(), 5.1e-7);
}

}  // namespace
}  // namespace readback::score
