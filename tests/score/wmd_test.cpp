// Word Mover's Distance against POT and gensim (tools/reference/wmd.py).
#include "readback/score/text/wmd.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "readback/base/files.h"
#include "readback/base/random.h"
#include "readback/score/text/transport.h"
#include "tests/source_dir.h"

namespace readback::score {
namespace {

namespace fs = std::filesystem;

const fs::path kGoldens = tests::source_dir() / "tests/goldens/score/wmd";

std::shared_ptr<const WordVectors> vectors() { return std::make_shared<WordVectors>(kGoldens / "vectors.txt"); }

TEST(Wmd, AsGensim) {
  WordMover unit(vectors()), plain(vectors(), {.normalize = false});
  int compared = 0;
  const nlohmann::json golden = read_json(kGoldens / "cases.json");
  for (const auto& row : golden.at("cases")) {
    const std::string left = row.at("left"), right = row.at("right");
    const double value = unit.distance(left, right);
    if (row.at("exact").is_null()) {  // a side without words: gensim says infinity
      EXPECT_TRUE(std::isnan(value)) << left;
      EXPECT_TRUE(std::isnan(plain.distance(left, right))) << left;
      continue;
    }
    EXPECT_NEAR(value, row.at("exact"), 1e-9) << left;
    EXPECT_NEAR(plain.distance(left, right), row.at("plain"), 1e-9) << left;
    EXPECT_NEAR(unit.distance(right, left), value, 1e-12) << left;
    if (!row.contains("gensim")) continue;
    EXPECT_NEAR(value, row.at("gensim"), 1e-7) << left;  // its unit vectors are fp32
    ++compared;
  }
  EXPECT_EQ(compared, 13);
}

TEST(Wmd, LeavesOutTheStopWordsOfNltk) {
  const WordMover mover(vectors()), all(vectors(), {.keep_stop_words = true});
  const auto stop_words = read_json(kGoldens / "cases.json").at("stop_words").get<std::vector<std::string>>();
  ASSERT_EQ(stop_words.size(), 179u);
  for (const std::string& word : stop_words) EXPECT_TRUE(mover.words(word).empty()) << word;
  EXPECT_EQ(mover.words("The DOG isn't on a mat."), (Tokens{"dog", "mat."}));
  EXPECT_EQ(all.words("The DOG isn't on a mat."), (Tokens{"the", "dog", "isn't", "on", "a", "mat."}));
  const WordMover tokens(vectors(), {.words = WmdWords::kPtb});
  EXPECT_EQ(tokens.words("The DOG is on a mat."), (Tokens{"dog", "mat"}));
}

TEST(Wmd, PunctuationHidesAWordUnlessItIsTokenized) {
  WordMover blanks(vectors()), tokens(vectors(), {.words = WmdWords::kPtb});
  EXPECT_TRUE(std::isnan(blanks.distance("dog.", "cat")));
  EXPECT_EQ(tokens.distance("dog.", "cat"), blanks.distance("dog", "cat"));
}

// Texts of 10,000 words: few different ones are quick, too many are refused instead of taking minutes.
TEST(Wmd, CaptionsOfTenThousandWords) {
  const fs::path path = fs::temp_directory_path() / ("readback-wmd-" + std::to_string(::getpid()) + ".txt");
  constexpr int kWords = 9000;
  {
    std::ofstream file(path);
    Random random(0, Purpose::kTest, "vectors");
    for (int i = 0; i < kWords; ++i) file << "w" << i << ' ' << random.uniform() << ' ' << random.uniform() << '\n';
  }
  WordMover mover(std::make_shared<WordVectors>(path), {.normalize = false});
  fs::remove(path);
  const auto text = [](int first, int different) {
    std::string result;
    for (int i = 0; i < 10000; ++i) result += fmt::format("w{} ", first + i % different);
    return result;
  };
  const double near = mover.distance(text(0, 300), text(150, 300)), far = mover.distance(text(0, 300), text(300, 300));
  EXPECT_GT(near, 0);
  EXPECT_LT(near, far);
  EXPECT_EQ(mover.distance(text(0, 5000), text(0, 5000)), 0);
  EXPECT_TRUE(std::isnan(mover.distance(text(0, 4500), text(4500, 4500))));
}

// Against a plan by exhaustion: every assignment of equal shares is a permutation.
TEST(Transport, FindsTheCheapestPlan) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    Random random(seed, Purpose::kTest, "costs");
    constexpr int kSide = 6;
    std::vector<double> costs(kSide * kSide);
    for (double& cost : costs) cost = static_cast<double>(random.below(8));  // ties
    std::array<int, kSide> order = {0, 1, 2, 3, 4, 5};
    double best = 1e9;
    do {
      double sum = 0;
      for (int i = 0; i < kSide; ++i) sum += costs[i * kSide + order[i]];
      best = std::min(best, sum);
    } while (std::next_permutation(order.begin(), order.end()));
    const std::vector<int64_t> ones(kSide, 1);
    EXPECT_EQ(transport_cost(ones, ones, costs), best) << seed;
    // The same goods in other portions: rows 0 and 1 as one row of two, if they cost the same.
    std::copy_n(costs.begin(), kSide, costs.begin() + kSide);
    const double twice = transport_cost(ones, ones, costs);
    const std::vector<int64_t> merged = {2, 1, 1, 1, 1};
    EXPECT_EQ(transport_cost(merged, ones, std::span(costs).subspan(kSide)), twice) << seed;
  }
  EXPECT_EQ(transport_cost({}, {}, {}), 0);
}

TEST(WmdMetric, ComparesCandidateWithOriginal) {
  const auto metric =
      make_wmd_metric({"wmd-text", "WMD", "f", Direction::kLowerIsBetter, Inputs::kTexts, ""}, vectors());
  EXPECT_EQ(metric->info().checkpoint, "vectors.txt");
  std::vector<Comparison> batch(2);
  batch[0].candidate_text = "a dog";
  batch[0].original_text = "the cat";
  batch[1].candidate_text = "a dog";
  const auto values = metric->score(batch);
  EXPECT_NEAR(values[0], 1.3979782200184805, 1e-9);
  EXPECT_TRUE(std::isnan(values[1]));
}

}  // namespace
}  // namespace readback::score
