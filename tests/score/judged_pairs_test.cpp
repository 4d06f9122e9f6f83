#include "readback/score/judged_pairs.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <set>

#include "readback/base/error.h"
#include "readback/base/files.h"

namespace readback::score {
namespace {

namespace fs = std::filesystem;

JudgedPair pair(const std::string& category, int64_t first, int64_t second) {
  return {"x.jpg", category, {"a cat", "a dog"}, {first, second}, {"one", "two", "three", "four"}};
}

std::vector<JudgedPair> read(const std::string& text) {
  const fs::path file = fs::temp_directory_path() / ("readback_pairs_" + std::to_string(::getpid()));
  write_file(file, text);
  std::vector<JudgedPair> pairs;
  try {
    pairs = read_judged_pairs(file);
  } catch (const DataError&) {
    fs::remove(file);
    throw;
  }
  fs::remove(file);
  return pairs;
}

std::string message(const std::string& text) {
  try {
    read(text);
  } catch (const DataError& error) {
    const std::string what = error.what();
    return what.substr(what.find(", line") == std::string::npos ? 0 : what.find(", line"));
  }
  return "";
}

TEST(JudgedPairs, AreReadFromJsonLines) {
  const std::string good =
      R"({"image": "x.jpg", "captions": ["a", "b"], "votes": [40, 8], "category": "HC", "references": ["c", "d"]})";
  const auto pairs = read(good + "\n\n" + good);
  ASSERT_EQ(pairs.size(), 2u);
  EXPECT_EQ(pairs[1].image, "x.jpg");
  EXPECT_EQ(pairs[1].category, "HC");
  EXPECT_EQ(pairs[1].captions[1], "b");
  EXPECT_EQ(pairs[1].votes[0], 40);
  EXPECT_EQ(pairs[1].references.size(), 2u);
  EXPECT_EQ(message(good + "\n{").find(", line 2: expected a JSON object"), 0u);
  EXPECT_EQ(message("[1]").find(", line 1: expected an object"), 0u);
  const auto without = [&](const std::string& part, const std::string& other) {
    std::string damaged = good;
    return message(damaged.replace(damaged.find(part), part.size(), other));
  };
  EXPECT_EQ(without("\"image\": \"x.jpg\", ", "").find(", line 1: expected image: a text"), 0u);
  EXPECT_EQ(without("[\"a\", \"b\"]", "[\"a\"]").find(", line 1: expected two captions and two numbers of votes"), 0u);
  EXPECT_EQ(without("8]", "-8]").find(", line 1: expected two captions and two numbers of votes"), 0u);
  EXPECT_EQ(without("[\"c\", \"d\"]", "[]").find(", line 1: expected references: a list of texts"), 0u);
  EXPECT_NE(message("\n").find("expected at least one pair of captions, got none"), std::string::npos);
}

TEST(JudgedPairs, DrawReferencesForBothCaptionsAlike) {
  const std::vector<JudgedPair> pairs = {pair("HC", 1, 0), pair("HI", 1, 0)};
  const auto captions = captions_of_pairs(pairs, 2, 0);
  EXPECT_EQ(captions.ids, (std::vector<std::string>{"0 A", "0 B", "1 A", "1 B"}));
  EXPECT_EQ(captions.candidates, (std::vector<std::string>{"a cat", "a dog", "a cat", "a dog"}));
  EXPECT_EQ(captions.references[0], captions.references[1]);
  EXPECT_EQ(captions_of_pairs(pairs, 2, 0).references, captions.references);
  EXPECT_EQ(captions_of_pairs(pairs, 0, 0).references[3].size(), 4u);
  EXPECT_EQ(captions_of_pairs(pairs, 9, 0).references[3], pairs[1].references);
  std::set<std::vector<std::string>> drawn;
  for (uint64_t seed = 0; seed < 200; ++seed) {
    for (const auto& references : captions_of_pairs(pairs, 2, seed).references) {
      ASSERT_EQ(std::set<std::string>(references.begin(), references.end()).size(), 2u);
      drawn.insert(references);
    }
  }
  EXPECT_EQ(drawn.size(), 12u);  // every ordered choice of 2 of 4
}

TEST(JudgedPairs, CountPreferencesOfMostPeople) {
  const std::vector<JudgedPair> pairs = {pair("HC", 40, 8), pair("HC", 8, 40), pair("HI", 30, 18), pair("HI", 24, 24),
                                         pair("HI", 1, 0)};
  const std::vector<std::vector<double>> values = {{3, 2, 3, 2, 1, 1, 5, 1, NAN, 1}, {3, 2, 1, 2, 1, 0, 5, 1, NAN, 1}};
  const PairAccuracy found = pair_accuracy(values, pairs, {.resamples = 10});
  ASSERT_EQ(found.categories.size(), 2u);
  EXPECT_EQ(found.categories[0].first, "HC");
  EXPECT_DOUBLE_EQ(found.categories[0].second.mean, 0.75);   // 1; 0 and 1
  EXPECT_DOUBLE_EQ(found.categories[1].second.mean, 0.625);  // a tie of the metric and 1; people who are divided: ½
  EXPECT_EQ(found.categories[1].second.count, 2);
  EXPECT_DOUBLE_EQ(found.all.mean, (1 + 0.5 + 0.75 + 0.5) / 4);
  EXPECT_EQ(found.undefined, 1);
  EXPECT_THROW(pair_accuracy(std::vector<std::vector<double>>{{1, 2}}, pairs), DataError);
}

}  // namespace
}  // namespace readback::score
