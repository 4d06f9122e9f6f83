#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/checkpoint/safetensors.h"
#include "tests/score/caption_scores.h"

namespace readback::score {
namespace {

using nlohmann::json;
using Texts = std::vector<std::string>;

const std::filesystem::path kSource = READBACK_SOURCE_DIR;
const std::filesystem::path kPublished = kSource / "../shared/data/caption-metrics";

// tools/reference/metrics.py: pycocoevalcap's values for the same words.
TEST(CaptionMetrics, EqualPycocoevalcap) {
  const json golden = read_json(kSource / "tests/goldens/score/captions.json");
  std::vector<Tokens> candidates;
  std::vector<std::vector<Tokens>> references;
  for (const json& entry : golden["cases"]) {
    candidates.push_back(split_words(entry["candidate"].get<std::string>()));
    references.emplace_back();
    for (const json& text : entry["references"]) references.back().push_back(split_words(text.get<std::string>()));
  }
  ASSERT_EQ(candidates.size(), 12u);
  const testing::CaptionScores scores = testing::score_tokens(candidates, references);
  for (size_t i = 0; i < candidates.size(); ++i) {
    for (size_t n = 0; n < kMaxOrder; ++n) {
      EXPECT_NEAR(scores.sentence_bleu[i][n], golden["sentence_bleu"][i][n].get<double>(), 1e-9) << i;
    }
    EXPECT_NEAR(scores.rouge[i], golden["rouge"][i].get<double>(), 1e-9) << i;
    EXPECT_NEAR(scores.cider[i], golden["cider"][i].get<double>(), 1e-9) << i;
    EXPECT_NEAR(scores.plain_cider[i], golden["plain_cider"][i].get<double>(), 1e-9) << i;
  }
  for (size_t n = 0; n < kMaxOrder; ++n) {
    EXPECT_NEAR(scores.corpus_bleu[n], golden["corpus_bleu"][n].get<double>(), 1e-9);
  }
  EXPECT_NEAR(testing::mean(scores.rouge), golden["rouge_mean"].get<double>(), 1e-9);
  EXPECT_NEAR(testing::mean(scores.cider), golden["cider_mean"].get<double>(), 1e-9);
}

struct Captions {
  Texts candidates;
  std::vector<Texts> references;
};

// The predictions of Karpathy's COCO test split, in the order of the references.
Captions karpathy_captions() {
  Captions captions;
  std::map<std::string, size_t> indices;
  const json annotations = read_json(kPublished / "karpathy_test_gt.json");
  for (const json& entry : annotations["annotations"]) {
    const size_t i = indices.try_emplace(entry["image_id"], indices.size()).first->second;
    captions.references.resize(indices.size());
    captions.references[i].push_back(entry["caption"]);
  }
  captions.candidates.resize(indices.size());
  const json predictions = read_json(kPublished / "karpathy_test_predictions.json");
  for (const json& entry : predictions) captions.candidates[indices.at(entry["image_id"])] = entry["caption"];
  return captions;
}

TEST(CaptionMetrics, EqualPycocoevalcapOnKarpathysTestSplit) {
  if (!std::filesystem::exists(kPublished)) GTEST_SKIP() << kPublished << " is not there";
  std::map<std::string, std::string> means;
  const auto golden = checkpoint::load_safetensors(kSource / "tests/goldens/score/karpathy.safetensors", &means);
  const Captions captions = karpathy_captions();
  ASSERT_EQ(captions.candidates.size(), 5000u);
  const testing::CaptionScores scores = testing::score_captions(captions.candidates, captions.references);

  // BLEU and ROUGE-L are stored as multiples of this.
  constexpr double kStep = 1.0 / std::numeric_limits<int32_t>::max();
  const int32_t* bleus = golden.at("sentence_bleu").data_ptr<int32_t>();
  const int32_t* rouges = golden.at("rouge").data_ptr<int32_t>();
  const double *ciders = golden.at("cider").data_ptr<double>(), *plain = golden.at("plain_cider").data_ptr<double>();
  for (size_t i = 0; i < captions.candidates.size(); ++i) {
    for (size_t n = 0; n < kMaxOrder; ++n) {
      ASSERT_NEAR(scores.sentence_bleu[i][n], bleus[kMaxOrder * i + n] * kStep, 1e-9) << captions.candidates[i];
    }
    ASSERT_NEAR(scores.rouge[i], rouges[i] * kStep, 1e-9) << captions.candidates[i];
    ASSERT_NEAR(scores.cider[i], ciders[i], 1e-9) << captions.candidates[i];
    ASSERT_NEAR(scores.plain_cider[i], plain[i], 1e-9) << captions.candidates[i];
  }
  const json corpus_bleu = json::parse(means.at("corpus_bleu"));
  for (size_t n = 0; n < kMaxOrder; ++n) EXPECT_NEAR(scores.corpus_bleu[n], corpus_bleu[n].get<double>(), 1e-9);
  EXPECT_NEAR(testing::mean(scores.rouge), std::stod(means.at("rouge_mean")), 1e-9);
  EXPECT_NEAR(testing::mean(scores.cider), std::stod(means.at("cider_mean")), 1e-9);
}

// `expected` holds published values by name; those of other metrics are passed over.
void expect_published(const testing::CaptionScores& scores, const json& expected, double tolerance, size_t count) {
  size_t compared = 0;
  const auto expect = [&](const std::string& name, double value, double scale = 1) {
    if (!expected.contains(name)) return;
    EXPECT_NEAR(value, expected[name].get<double>(), tolerance * scale) << name;
    ++compared;
  };
  for (size_t n = 0; n < kMaxOrder; ++n) expect("BLEU-" + std::to_string(n + 1), scores.corpus_bleu[n]);
  expect("ROUGE_L", testing::mean(scores.rouge));
  expect("CIDEr", testing::mean(scores.cider), 10);  // published with a digit before the point
  EXPECT_EQ(compared, count);
}

TEST(CaptionMetrics, EqualWhatWasPublished) {
  if (!std::filesystem::exists(kPublished)) GTEST_SKIP() << kPublished << " is not there";
  const json expected = read_json(kPublished / "expected.json");

  const Captions captions = karpathy_captions();
  expect_published(testing::score_captions(captions.candidates, captions.references), expected["karpathy_test"],
                   expected["karpathy_test"]["tolerance"].get<double>() / 10, 6);

  // Rounded to four digits.
  for (const auto& [name, count] : {std::pair("clipscore", 6), std::pair("pacscore", 4)}) {
    const auto folder = kPublished / (std::string(name) + "-example");
    const auto references = read_json(folder / "refs.json").get<std::map<std::string, Texts>>();
    for (const std::string quality : {"good", "bad"}) {
      Captions example;
      for (const auto& [image, text] :
           read_json(folder / (quality + "_captions.json")).get<std::map<std::string, std::string>>()) {
        example.candidates.push_back(text);
        example.references.push_back(references.at(image));
      }
      SCOPED_TRACE(std::string(name) + ", " + quality);
      expect_published(testing::score_captions(example.candidates, example.references),
                       expected[std::string(name) + "_example"][quality], 5.1e-5, static_cast<size_t>(count));
    }
  }

  // Rounded to six digits.
  const auto lines = [&](const char* name) {
    Texts result;
    std::istringstream stream(read_file(kPublished / "nlg-eval-example" / name));
    for (std::string line; std::getline(stream, line);) result.push_back(line);
    return result;
  };
  const Texts first = lines("ref1.txt"), second = lines("ref2.txt");
  std::vector<Texts> references;
  for (size_t i = 0; i < first.size(); ++i) references.push_back({first[i], second[i]});
  expect_published(testing::score_captions(lines("hyp.txt"), references), expected["nlg_eval_example"], 5.1e-7, 6);

  const json& evaluation = expected["language_evaluation"];
  expect_published(testing::score_captions(evaluation["predictions"], evaluation["references"]), evaluation, 5.1e-7, 6);
}

TEST(Bleu, TakesTheClosestReferenceLengthAndTheShorterOfTwo) {
  const std::vector<Tokens> references = {split_words("a b c d e f"), split_words("a b")};
  EXPECT_EQ(count_bleu(split_words("a b c d"), references).reference_length, 2);
  EXPECT_EQ(count_bleu(split_words("a b c d e"), references).reference_length, 6);
  EXPECT_THROW(count_bleu(split_words("a"), {}), DataError);
}

TEST(Cider, ThrowsWithoutReferences) { EXPECT_THROW(cider(split_words("a"), {}, {}), DataError); }

TEST(RougeL, TakesTheBestPrecisionAndTheBestRecall) {
  const std::vector<Tokens> references = {split_words("a b c d e f g h"), split_words("a c")};
  const double precision = 3 / 4.0, recall = 1, beta = 1.2 * 1.2;
  EXPECT_NEAR(rouge_l(split_words("a x b c"), references),
              (1 + beta) * precision * recall / (recall + beta * precision), 1e-15);
  EXPECT_EQ(rouge_l(split_words("x"), references), 0);
  EXPECT_EQ(rouge_l({}, references), 0);
  EXPECT_EQ(rouge_l({}, std::vector<Tokens>{{}}), 1);
  EXPECT_THROW(rouge_l(split_words("a"), {}), DataError);
}

TEST(Words, AreSplitAtUnicodeBlanks) {
  EXPECT_EQ(split_words(" A, b\tc\n"), (Tokens{"A,", "b", "c"}));
  EXPECT_EQ(split_words("a\u00A0b\u2003c\u3000d\u1680e\u2029f\x1Cg\u200Bh\u00E9"),
            (Tokens{"a", "b", "c", "d", "e", "f", "g\u200Bh\u00E9"}));
  EXPECT_TRUE(split_words(" \u00A0 ").empty());
  EXPECT_EQ(split_tokens({"1\u00A01/2", "cups"}), (Tokens{"1", "1/2", "cups"}));
  EXPECT_EQ(split_tokens({"two", "cups"}), (Tokens{"two", "cups"}));
}

}  // namespace
}  // namespace readback::score
