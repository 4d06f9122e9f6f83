#include "readback/score/text/meteor/meteor.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "meteor_tables.h"
#include "readback/base/error.h"
#include "readback/score/registry.h"
#include "readback/score/text/meteor/normalizer.h"
#include "readback/score/text/meteor/stemmer.h"
#include "readback/text/unicode.h"

namespace readback::score {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

struct SmallTables : MeteorFolder {
  SmallTables() { write_file(file(), small_meteor_tables()); }
  std::shared_ptr<const MeteorTables> tables() const { return MeteorTables::load(file()); }
};

// In the order of the jar's statistics.
std::vector<int64_t> numbers(const MeteorStatistics& s) {
  std::vector<int64_t> result = {s.hypothesis.length, s.reference.length, s.hypothesis.function_words,
                                 s.reference.function_words};
  for (size_t i = 0; i < kMeteorStages; ++i) {
    result.insert(result.end(), {s.hypothesis.content_matches[i], s.reference.content_matches[i],
                                 s.hypothesis.function_matches[i], s.reference.function_matches[i]});
  }
  result.insert(result.end(), {s.chunks, s.hypothesis.matches(), s.reference.matches()});
  return result;
}

std::u16string utf16(const std::string& text) {
  const std::u32string characters = text::decode_utf8(text);  // none of the goldens is beyond the first plane
  return {characters.begin(), characters.end()};
}

TEST(Meteor, StemsEqualTheJars) {
  std::istringstream lines(read_file(kMeteorGoldens / "stems.txt"));
  size_t count = 0;
  for (std::string word, stem; lines >> word >> stem; ++count)
    EXPECT_EQ(stem_english(utf16(word)), utf16(stem)) << word;
  EXPECT_GT(count, 1900u);
  EXPECT_EQ(stem_english(u""), u"");
}

TEST(Meteor, WordsEqualTheJars) {
  const SmallTables small;
  const auto tables = small.tables();
  const json golden = read_json(kMeteorGoldens / "words.json");
  ASSERT_GT(golden.size(), 400u);
  for (const json& entry : golden) {
    EXPECT_EQ(meteor_words(entry[0].get<std::string>(), *tables), entry[1].get<std::vector<std::string>>()) << entry[0];
  }
  EXPECT_EQ(meteor_words("dog\xff", *tables), (std::vector<std::string>{"dog", "\xef\xbf\xbd"}));
}

TEST(Meteor, StatisticsAndScoresEqualTheJars) {
  const SmallTables small;
  const json golden = read_json(kMeteorGoldens / "cases.json");
  ASSERT_GT(golden["cases"].size(), 150u);
  Meteor scorer(small.tables());
  std::vector<MeteorStatistics> statistics;
  for (const json& entry : golden["cases"]) {
    const auto references = entry["references"].get<std::vector<std::string>>();
    const MeteorScore score = scorer.score(entry["hypothesis"].get<std::string>(), references);
    EXPECT_EQ(numbers(score.statistics), entry["statistics"].get<std::vector<int64_t>>()) << entry["hypothesis"];
    EXPECT_NEAR(score.score, entry["score"].get<double>(), 1e-12) << entry["hypothesis"];
    EXPECT_EQ(meteor(score.statistics), score.score);
    statistics.push_back(score.statistics);
  }
  EXPECT_NEAR(corpus_meteor(statistics), golden["corpus"].get<double>(), 1e-12);
}

TEST(Meteor, CountsByHand) {
  const SmallTables small;
  Meteor scorer(small.tables());
  const auto score = [&](const std::string& hypothesis, const std::string& reference) {
    return scorer.score(hypothesis, std::span(&reference, 1));
  };
  // "red" is the same, "hounds" and "dog" share a synset, "fast" and "slow" nothing.
  const MeteorStatistics statistics = score("red hounds fast", "red dog slow").statistics;
  EXPECT_EQ(statistics.hypothesis.content_matches, (std::array<int64_t, kMeteorStages>{1, 0, 1, 0}));
  EXPECT_EQ(statistics.chunks, 1);
  // "is able to", two of whose words are function words, means "can".
  const MeteorStatistics phrase = score("red rocket is able to", "red rocket can").statistics;
  EXPECT_EQ(phrase.hypothesis.content_matches[kParaphrase] + phrase.hypothesis.function_matches[kParaphrase], 3);
  EXPECT_EQ(phrase.reference.content_matches[kParaphrase], 1);
  EXPECT_TRUE(phrase.is_one_chunk());
  EXPECT_DOUBLE_EQ(score("moon", "moon").score, 1);
  EXPECT_EQ(score("moon", "rocket").score, 0);
  EXPECT_EQ(score("", "").score, 0);
  EXPECT_THROW(scorer.score("a", {}), DataError);
  EXPECT_EQ(corpus_meteor({}), 0);
}

TEST(Meteor, TakesCaptionsOfThousandsOfWords) {
  const SmallTables small;
  Meteor scorer(small.tables());
  std::string text, other;
  for (int i = 0; i < 5000; ++i) {
    text += fmt::format("w{} dog ", i);
    other += fmt::format("w{} box ", i);
  }
  const MeteorScore score = scorer.score(text, std::span(&other, 1));
  EXPECT_EQ(score.statistics.hypothesis.matches(), 5000);
  EXPECT_EQ(score.statistics.chunks, 5000);
  other = text.substr(0, text.size() / 5);
  EXPECT_DOUBLE_EQ(scorer.score(other, std::span(&other, 1)).score, 1);
}

TEST(MeteorTables, SayWhichCommandMakesThem) {
  const MeteorFolder empty;
  EXPECT_EQ(meteor_tables_path(), empty.file());
  EXPECT_FALSE(has_meteor_tables());
  try {
    make_metric("meteor", {});
    FAIL();
  } catch (const DataError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("readback score prepare-meteor --package"), std::string::npos) << message;
    EXPECT_NE(message.find(empty.file().string()), std::string::npos) << message;
  }
}

TEST(MeteorTables, LieWithTheUsersDataByDefault) {
  const MeteorFolder restores_the_variable;
  ::unsetenv("READBACK_METEOR");
  const std::string path = meteor_tables_path().string();
  EXPECT_TRUE(path.ends_with("/readback/meteor-en.bin")) << path;
}

TEST(MeteorTables, MakeTheMetric) {
  const SmallTables small;
  Comparison comparison;
  comparison.candidate_text = "The hound runs.";
  comparison.references = {"a rocket", "the dog runs"};
  const double score = make_metric("meteor", {})->score(std::span(&comparison, 1)).at(0);
  Meteor scorer(small.tables());
  EXPECT_EQ(score, scorer.score("the hound runs", std::span(&comparison.references[1], 1)).score);
}

TEST(MeteorTables, DamagedFilesAreErrors) {
  const SmallTables small;
  const std::string whole = read_file(small.file());
  const auto use = [&](const std::string& bytes) {  // whether it was taken for a whole file
    const fs::path path = small.folder() / "damaged.bin";
    write_file(path, bytes);
    try {
      Meteor scorer(MeteorTables::load(path));
      const std::string references[] = {"the dog is able to run on top of the mice", "a man 's puppies"};
      scorer.score("it can run on the mouse next to Mr. Fox. one", references);
      return true;
    } catch (const DataError&) {
      return false;
    }
  };
  EXPECT_TRUE(use(whole));
  EXPECT_FALSE(use(""));
  EXPECT_FALSE(use(whole + '\0'));
  for (size_t size = 0; size < whole.size(); size += 37) EXPECT_FALSE(use(whole.substr(0, size))) << size;
  EXPECT_FALSE(use("x" + whole.substr(1)));
  // Any one byte may be wrong: an error, or another score, but never a crash.
  int errors = 0;
  for (size_t at = 0; at < whole.size(); at += at < 256 ? 1 : 61) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ (at % 2 == 0 ? 0xff : 0x80));
    errors += !use(damaged);
  }
  EXPECT_GT(errors, 200);
}

TEST(MeteorTables, SourcesWithoutTheirSecondLineAreErrors) {
  EXPECT_THROW(build_meteor_tables({"", "", "dog\n", "", ""}), DataError);
  EXPECT_THROW(build_meteor_tables({"", "", "dog\none\n", "", ""}), DataError);
  EXPECT_THROW(build_meteor_tables({"", "", "", "run\n", ""}), DataError);
  EXPECT_THROW(build_meteor_tables({"", "", "", "", "0.5\na dog\n"}), DataError);
  EXPECT_THROW(build_meteor_tables({"", "", "", "", "0.5\na dog\n \n"}), DataError);
}

}  // namespace
}  // namespace readback::score
