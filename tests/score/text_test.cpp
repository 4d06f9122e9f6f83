#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/random.h"
#include "readback/score/text/bleu.h"
#include "readback/score/text/cider.h"

namespace readback::score {
namespace {

using nlohmann::json;

const std::filesystem::path kSource = READBACK_SOURCE_DIR;

struct Case {
  std::string candidate;
  std::vector<std::string> references;
};

std::vector<Tokens> split_all(const std::vector<std::string>& texts) {
  std::vector<Tokens> result;
  for (const std::string& text : texts) result.push_back(split_words(text));
  return result;
}

// tools/reference/metrics.py: pycocoevalcap's values for the same words.
void expect_equal(const std::vector<Case>& cases, const json& golden) {
  DocumentFrequencies frequencies;
  for (const Case& c : cases) frequencies.add(split_all(c.references));
  BleuCounts corpus;
  double cider_sum = 0;
  for (size_t i = 0; i < cases.size(); ++i) {
    const Tokens candidate = split_words(cases[i].candidate);
    const std::vector<Tokens> references = split_all(cases[i].references);
    const BleuCounts counts = count_bleu(candidate, references);
    corpus += counts;
    const auto sentence = bleu(counts);
    for (size_t n = 0; n < kMaxOrder; ++n) {
      EXPECT_NEAR(sentence[n], golden["sentence_bleu"][i][n].get<double>(), 1e-9) << cases[i].candidate;
    }
    const double clipped = cider(candidate, references, frequencies);
    const double plain = cider(candidate, references, frequencies, CiderVariant::kPlain);
    EXPECT_NEAR(clipped, golden["cider"][i].get<double>(), 1e-9) << cases[i].candidate;
    EXPECT_NEAR(plain, golden["plain_cider"][i].get<double>(), 1e-9) << cases[i].candidate;
    cider_sum += clipped;
  }
  for (size_t n = 0; n < kMaxOrder; ++n) EXPECT_NEAR(bleu(corpus)[n], golden["corpus_bleu"][n].get<double>(), 1e-9);
  EXPECT_NEAR(cider_sum / static_cast<double>(cases.size()), golden["cider_mean"].get<double>(), 1e-9);
}

TEST(CaptionMetrics, EqualPycocoevalcap) {
  const json golden = read_json(kSource / "tests/goldens/score/captions.json");
  std::vector<Case> cases;
  for (const json& entry : golden["cases"]) {
    cases.push_back({entry["candidate"], entry["references"].get<std::vector<std::string>>()});
  }
  ASSERT_EQ(cases.size(), 12u);
  expect_equal(cases, golden);
}

TEST(CaptionMetrics, EqualPycocoevalcapOnKarpathysTestSplit) {
  const std::filesystem::path folder = kSource / "../shared/data/caption-metrics";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is not there";
  const json golden = read_json(kSource / "tests/goldens/score/karpathy.json");
  const auto normalize = [](const std::string& text) {
    std::string lower;
    for (const std::string& word : split_words(text)) lower += (lower.empty() ? "" : " ") + word;
    for (char& c : lower) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    return lower;
  };
  std::map<std::string, std::vector<std::string>> references;
  const json annotations = read_json(folder / "karpathy_test_gt.json");
  for (const json& entry : annotations["annotations"]) {
    references[entry["image_id"]].push_back(normalize(entry["caption"]));
  }
  const json predictions = read_json(folder / "karpathy_test_predictions.json");
  std::vector<Case> cases;
  std::string texts;
  for (size_t i = 0; i < golden["images"].get<size_t>(); ++i) {
    cases.push_back({normalize(predictions[i]["caption"]), references.at(predictions[i]["image_id"])});
    texts += (i ? "\n" : "") + cases.back().candidate;
    for (const std::string& reference : cases.back().references) texts += "\n" + reference;
  }
  ASSERT_EQ(fmt::format("{:016x}", fnv1a(texts)), golden["texts_fnv1a"].get<std::string>());
  expect_equal(cases, golden);
}

TEST(Bleu, TakesTheClosestReferenceLengthAndTheShorterOfTwo) {
  const std::vector<Tokens> references = {split_words("a b c d e f"), split_words("a b")};
  EXPECT_EQ(count_bleu(split_words("a b c d"), references).reference_length, 2);
  EXPECT_EQ(count_bleu(split_words("a b c d e"), references).reference_length, 6);
  EXPECT_THROW(count_bleu(split_words("a"), {}), DataError);
}

TEST(Cider, ThrowsWithoutReferences) { EXPECT_THROW(cider(split_words("a"), {}, {}), DataError); }

TEST(CaptionTokens, LowerCasesAndDropsPunctuation) {
  EXPECT_EQ(caption_tokens("  A Red fox, (left)  of \"the\" moon... "),
            (Tokens{"a", "red", "fox", "left", "of", "the", "moon"}));
  EXPECT_EQ(caption_tokens("it's black-and-white -- !"), (Tokens{"it's", "black-and-white"}));
  EXPECT_TRUE(caption_tokens(" \t\n. ? ").empty());
  EXPECT_EQ(split_words(" A, b\tc\n"), (Tokens{"A,", "b", "c"}));
}

}  // namespace
}  // namespace readback::score
