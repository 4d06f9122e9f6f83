#include "readback/score/text/caption_scores.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/checkpoint/safetensors.h"
#include "readback/score/registry.h"
#include "readback/score/text/bleu.h"
#include "readback/score/text/meteor/tables.h"
#include "tests/source_dir.h"

namespace readback::score {
namespace {

using data::MatchedCaptions;
using nlohmann::json;

const std::filesystem::path kSource = tests::source_dir();
const std::filesystem::path kPublished = tests::shared_data("caption-metrics");

MatchedCaptions read(const std::string& predictions, const std::vector<std::string>& references) {
  std::vector<std::string> paths;
  for (const std::string& reference : references) paths.push_back(kPublished / reference);
  return data::match_captions(data::read_caption_file(kPublished / predictions), data::read_caption_files(paths),
                              false);
}

MatchedCaptions karpathy() { return read("karpathy_test_predictions.json", {"karpathy_test_gt.json"}); }

struct Values {
  std::map<std::string, double> set;  // by title
  std::map<std::string, std::vector<double>> samples;
};

Values score(const MatchedCaptions& captions, CaptionScoreOptions options = {}) {
  Values values;
  for (const CaptionScoreGroup& group : score_captions(captions, options).groups) {
    const auto intervals = bootstrap(group.aggregate, {.resamples = 20});
    for (size_t i = 0; i < group.scores.size(); ++i) {
      values.set[group.scores[i].title] = intervals[i].mean;
      values.samples[group.scores[i].title] = group.scores[i].samples;
    }
  }
  return values;
}

const MatchedCaptions kTwo = {
    {"1", "2"}, {"a cat on a mat", "the dog."}, {{"a cat sits on the mat", "one cat"}, {"a brown dog runs in a park"}}};

// tools/reference/metrics.py: pycocoevalcap's values of every caption.
TEST(CaptionScores, EqualPycocoevalcapOnKarpathysTestSplit) {
  SKIP_WITHOUT_SHARED_DATA("caption-metrics");
  std::map<std::string, std::string> means;
  const auto golden = checkpoint::load_safetensors(kSource / "tests/goldens/score/karpathy.safetensors", &means);
  CaptionScoreOptions options;
  options.metrics = {"bleu", "rouge", "cider", "cider-plain"};
  const Values values = score(karpathy(), options);
  ASSERT_EQ(values.samples.at("CIDEr").size(), 5000u);

  // BLEU and ROUGE-L are stored as multiples of this.
  constexpr double kStep = 1.0 / std::numeric_limits<int32_t>::max();
  const int32_t* bleus = golden.at("sentence_bleu").data_ptr<int32_t>();
  const int32_t* rouges = golden.at("rouge").data_ptr<int32_t>();
  const double *ciders = golden.at("cider").data_ptr<double>(), *plain = golden.at("plain_cider").data_ptr<double>();
  for (size_t i = 0; i < 5000; ++i) {
    for (size_t n = 0; n < kMaxOrder; ++n) {
      ASSERT_NEAR(values.samples.at("BLEU-" + std::to_string(n + 1))[i], bleus[kMaxOrder * i + n] * kStep, 1e-9) << i;
    }
    ASSERT_NEAR(values.samples.at("ROUGE-L")[i], rouges[i] * kStep, 1e-9) << i;
    ASSERT_NEAR(values.samples.at("CIDEr")[i], ciders[i], 1e-9) << i;
    ASSERT_NEAR(values.samples.at("CIDEr (plain)")[i], plain[i], 1e-9) << i;
  }
  const json corpus_bleu = json::parse(means.at("corpus_bleu"));
  for (size_t n = 0; n < kMaxOrder; ++n) {
    EXPECT_NEAR(values.set.at("BLEU-" + std::to_string(n + 1)), corpus_bleu[n].get<double>(), 1e-9);
  }
  EXPECT_NEAR(values.set.at("ROUGE-L"), std::stod(means.at("rouge_mean")), 1e-9);
  EXPECT_NEAR(values.set.at("CIDEr"), std::stod(means.at("cider_mean")), 1e-9);
}

// `expected` holds published values by name; those of metrics that were not computed are passed over.
void expect_published(const Values& values, const json& expected, double tolerance) {
  for (const auto& [title, value] : values.set) {
    const std::string name = title == "ROUGE-L" ? "ROUGE_L" : title;
    if (!expected.contains(name)) continue;
    // CIDEr is published with a digit before the point.
    EXPECT_NEAR(value, expected[name].get<double>(), tolerance * (name == "CIDEr" ? 10 : 1)) << name;
  }
  EXPECT_NEAR(values.set.at("BLEU-1"), expected["BLEU-1"].get<double>(), tolerance);
  EXPECT_NEAR(values.set.at("CIDEr"), expected["CIDEr"].get<double>(), 10 * tolerance);
}

TEST(CaptionScores, EqualWhatWasPublished) {
  SKIP_WITHOUT_SHARED_DATA("caption-metrics");
  const json expected = read_json(kPublished / "expected.json");
  const Values values = score(karpathy());
  expect_published(values, expected["karpathy_test"], expected["karpathy_test"]["tolerance"].get<double>() / 10);
  if (has_meteor_tables()) {
    EXPECT_NEAR(values.set.at("METEOR"), expected["karpathy_test"]["METEOR"].get<double>(), 1e-4);
  }

  for (const std::string name : {"clipscore", "pacscore"}) {  // rounded to four digits
    for (const std::string quality : {"good", "bad"}) {
      SCOPED_TRACE(name + ", " + quality);
      expect_published(score(read(name + "-example/" + quality + "_captions.json", {name + "-example/refs.json"})),
                       expected[name + "_example"][quality], 5.1e-5);
    }
  }
  // Rounded to six digits.
  expect_published(score(read("nlg-eval-example/hyp.txt", {"nlg-eval-example/ref1.txt", "nlg-eval-example/ref2.txt"})),
                   expected["nlg_eval_example"], 5.1e-7);
  const json& evaluation = expected["language_evaluation"];
  MatchedCaptions captions{{}, evaluation["predictions"], evaluation["references"]};
  captions.ids.resize(captions.candidates.size());
  expect_published(score(captions), evaluation, 5.1e-7);
}

TEST(CaptionScores, OddCaptionsScoreLowAndHarmNothing) {
  std::string endless;
  for (int i = 0; i < 10000; ++i) endless += "word" + std::to_string(i % 700) + " ";
  const MatchedCaptions captions = {
      {"1", "2", "3"}, {"", endless, "a cat"}, {{"a cat"}, {"a dog", ""}, {endless, "a cat"}}};
  for (const auto& [title, values] : score(captions).samples) {
    EXPECT_LT(values[0], 1e-3) << title;
    EXPECT_LT(values[1], 1e-2) << title;
    EXPECT_TRUE(std::isfinite(values[2])) << title;
  }
}

TEST(CaptionScores, SayWhichMetricsThereAre) {
  try {
    score(kTwo, {.metrics = {"blue"}});
    FAIL() << "blue is no metric";
  } catch (const UsageError& error) {
    for (const std::string& name : caption_metrics()) {
      EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << name;
    }
  }
}

TEST(CaptionScores, EveryMetricIsThereOrSaysWhatIsMissing) {
  for (const std::string& name : caption_metrics()) {
    const CaptionScores scores = score_captions(kTwo, {.metrics = {name}});
    ASSERT_EQ(scores.groups.size() + scores.absent.size(), 1u) << name;
    if (scores.groups.empty()) {
      EXPECT_TRUE(name == "meteor" || name == "spice") << name;
      EXPECT_FALSE(scores.absent.front().second.empty()) << name;
      continue;
    }
    for (const CaptionScore& line : scores.groups.front().scores) {
      EXPECT_EQ(line.samples.size(), kTwo.ids.size()) << line.name;
      EXPECT_TRUE(line.name.starts_with(name)) << line.name << " of " << name;  // rouge is short for rouge-l
      EXPECT_EQ(line.title, find_metric(line.name).title);
    }
  }
}

class Frequencies : public testing::Test {
 protected:
  void SetUp() override {
    path_ = std::filesystem::temp_directory_path() / ("readback-df-" + std::to_string(getpid()));
  }
  void TearDown() override { std::filesystem::remove(path_); }
  std::filesystem::path path_;
};

TEST_F(Frequencies, OfAFileGiveTheValuesOfTheSetThatMadeIt) {
  const data::CaptionFile references = {"references", kTwo.ids, kTwo.references};
  document_frequencies(references).save(path_);
  CaptionScoreOptions options{.metrics = {"cider", "cider-plain"}};
  const Values batch = score(kTwo, options);
  options.frequencies = StoredFrequencies{"a file", DocumentFrequencies::load(path_)};
  const Values stored = score(kTwo, options);
  EXPECT_EQ(stored.samples, batch.samples);
  EXPECT_GT(batch.samples.at("CIDEr")[0], 0);

  // One caption alone has no frequencies of its own: log 1 = 0 for every n-gram. The file's are what it needs.
  const MatchedCaptions one = {{"1"}, {kTwo.candidates[0]}, {kTwo.references[0]}};
  EXPECT_EQ(score(one, {.metrics = {"cider"}}).set.at("CIDEr"), 0);
  EXPECT_EQ(score(one, options).set.at("CIDEr"), batch.samples.at("CIDEr")[0]);
}

TEST_F(Frequencies, KnowTheWordsOfTheirSetOnly) {
  const DocumentFrequencies frequencies = document_frequencies({"references", kTwo.ids, kTwo.references});
  EXPECT_EQ(frequencies.documents(), 2);
  EXPECT_EQ(word_coverage(kTwo, frequencies), 1);
  EXPECT_EQ(word_coverage({{"1"}, {"x"}, {{"eine Katze"}}}, frequencies), 0);
  EXPECT_EQ(word_coverage({{"1"}, {"x"}, {{"cat Katze"}}}, frequencies), 0.5);
}

TEST_F(Frequencies, DamagedFilesAreErrors) {
  document_frequencies({"references", kTwo.ids, kTwo.references}).save(path_);
  const std::string whole = read_file(path_);
  const auto expect_error = [&](const std::string& bytes) {
    std::ofstream(path_, std::ios::binary) << bytes;
    EXPECT_THROW(DocumentFrequencies::load(path_), DataError);
  };
  expect_error("");
  expect_error("not a file of this kind, but long enough to hold a header of the other one");
  expect_error(whole.substr(0, whole.size() - 24));
  std::string changed = whole;
  changed[whole.size() - 20] ^= 1;
  expect_error(changed);
  std::ofstream(path_, std::ios::binary) << whole;
  EXPECT_EQ(DocumentFrequencies::load(path_).ngrams(),
            document_frequencies({"references", kTwo.ids, kTwo.references}).ngrams());
}

}  // namespace
}  // namespace readback::score
