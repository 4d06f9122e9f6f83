#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/score/text/bleu.h"
#include "readback/score/text/cider.h"
#include "readback/score/text/rouge.h"
#include "tests/source_dir.h"

namespace readback::score {
namespace {

using nlohmann::json;

const std::filesystem::path kSource = tests::source_dir();

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
  DocumentFrequencies frequencies;
  for (const auto& list : references) frequencies.add(list);
  BleuCounts corpus;
  double rouge_sum = 0, cider_sum = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const BleuCounts counts = count_bleu(candidates[i], references[i]);
    corpus += counts;
    for (size_t n = 0; n < kMaxOrder; ++n) {
      EXPECT_NEAR(bleu(counts)[n], golden["sentence_bleu"][i][n].get<double>(), 1e-9) << i;
    }
    const double rouge = rouge_l(candidates[i], references[i]);
    const double d = cider(candidates[i], references[i], frequencies, CiderVariant::kD);
    const double plain = cider(candidates[i], references[i], frequencies, CiderVariant::kPlain);
    EXPECT_NEAR(rouge, golden["rouge"][i].get<double>(), 1e-9) << i;
    EXPECT_NEAR(d, golden["cider"][i].get<double>(), 1e-9) << i;
    EXPECT_NEAR(plain, golden["plain_cider"][i].get<double>(), 1e-9) << i;
    rouge_sum += rouge;
    cider_sum += d;
  }
  for (size_t n = 0; n < kMaxOrder; ++n) {
    EXPECT_NEAR(bleu(corpus)[n], golden["corpus_bleu"][n].get<double>(), 1e-9);
  }
  EXPECT_NEAR(rouge_sum / 12, golden["rouge_mean"].get<double>(), 1e-9);
  EXPECT_NEAR(cider_sum / 12, golden["cider_mean"].get<double>(), 1e-9);
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
