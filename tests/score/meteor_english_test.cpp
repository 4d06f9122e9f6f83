// METEOR with the whole of English: needs the tables that READBACK_METEOR names, and the captions.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "meteor_tables.h"
#include "readback/base/random.h"
#include "readback/score/text/meteor/meteor.h"
#include "readback/text/ptb_tokenizer.h"
#include "tests/source_dir.h"

namespace readback::score {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;
using Texts = std::vector<std::string>;

void expect_equal_to_the_jar(const std::string& golden_name,
                             const std::vector<std::pair<std::string, Texts>>& captions) {
  const json golden = read_json(kMeteorGoldens / golden_name);
  const auto expected = golden["scores"].get<std::vector<double>>();
  ASSERT_EQ(captions.size(), expected.size());
  std::string texts;
  for (const auto& [hypothesis, references] : captions) {
    texts += (texts.empty() ? "" : "\n") + hypothesis;
    for (const std::string& reference : references) texts += "\n" + reference;
  }
  ASSERT_EQ(fmt::format("{:016x}", fnv1a(texts)), golden["texts_fnv1a"].get<std::string>());
  Meteor scorer(MeteorTables::load());
  std::vector<MeteorStatistics> statistics;
  for (size_t i = 0; i < captions.size(); ++i) {
    const MeteorScore score = scorer.score(captions[i].first, captions[i].second);
    EXPECT_NEAR(score.score, expected[i], 1e-6) << captions[i].first;
    statistics.push_back(score.statistics);
  }
  EXPECT_NEAR(corpus_meteor(statistics), golden["corpus"].get<double>(), 1e-9);
}

std::string plain(const std::string& text) {
  std::string result;
  std::istringstream stream(text);
  for (std::string word; stream >> word;) result += (result.empty() ? "" : " ") + word;
  for (char& c : result) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  return result;
}

const fs::path kShared = tests::shared_data();
constexpr const char* kHowToMake =
    "METEOR has no tables; make them with `readback score prepare-meteor --package "
    "DIR/pycocoevalcap/meteor`";

TEST(MeteorOfEnglish, EqualsTheJarOnKarpathysTestSplit) {
  if (!has_meteor_tables()) GTEST_SKIP() << kHowToMake;
  SKIP_WITHOUT_SHARED_DATA("caption-metrics");
  const fs::path folder = kShared / "caption-metrics";
  std::map<std::string, Texts> references;
  const json annotations = read_json(folder / "karpathy_test_gt.json");
  for (const json& entry : annotations["annotations"]) {
    references[entry["image_id"]].push_back(plain(entry["caption"]));
  }
  std::vector<std::pair<std::string, Texts>> captions;
  for (const json& entry : read_json(folder / "karpathy_test_predictions.json")) {
    captions.emplace_back(plain(entry["caption"]), references.at(entry["image_id"]));
  }
  expect_equal_to_the_jar("karpathy.json", captions);
}

TEST(MeteorOfEnglish, EqualsTheJarOnFlickr8k) {
  if (!has_meteor_tables()) GTEST_SKIP() << kHowToMake;
  SKIP_WITHOUT_SHARED_DATA("flickr8k-judgements/Flickr8k.token.txt");
  const fs::path path = kShared / "flickr8k-judgements/Flickr8k.token.txt";
  std::vector<std::pair<std::string, Texts>> captions;
  std::istringstream lines(read_file(path));
  std::string last;
  for (std::string line; std::getline(lines, line);) {
    const std::string image = line.substr(0, line.find('#')), caption = plain(line.substr(line.find('\t')));
    if (image != last) {
      if (!captions.empty() && captions.back().second.empty()) captions.pop_back();
      captions.push_back({caption, {}});
    } else {
      captions.back().second.push_back(caption);
    }
    last = image;
  }
  expect_equal_to_the_jar("flickr8k.json", captions);
}

// Of captions as people write them, tokenized as pycocoevalcap does: all references at once, all candidates at once.
double corpus_score(const Texts& candidates, const std::vector<Texts>& references) {
  const auto tokenize = [](const Texts& texts) {
    Texts result;
    for (const auto& tokens : text::ptb_tokens(texts)) result.push_back(fmt::format("{}", fmt::join(tokens, " ")));
    return result;
  };
  Texts all;
  for (const Texts& texts : references) all.insert(all.end(), texts.begin(), texts.end());
  const Texts candidate_tokens = tokenize(candidates), reference_tokens = tokenize(all);
  Meteor scorer(MeteorTables::load());
  std::vector<MeteorStatistics> statistics;
  std::span<const std::string> left = reference_tokens;
  for (size_t i = 0; i < candidates.size(); ++i) {
    statistics.push_back(scorer.score(candidate_tokens[i], left.first(references[i].size())).statistics);
    left = left.subspan(references[i].size());
  }
  return corpus_meteor(statistics);
}

TEST(MeteorOfEnglish, EqualsWhatWasPublished) {
  if (!has_meteor_tables()) GTEST_SKIP() << kHowToMake;
  SKIP_WITHOUT_SHARED_DATA("caption-metrics");
  const fs::path folder = kShared / "caption-metrics";
  const json expected = read_json(folder / "expected.json");

  std::map<std::string, size_t> indices;
  std::vector<Texts> references;
  const json annotations = read_json(folder / "karpathy_test_gt.json");
  for (const json& entry : annotations["annotations"]) {
    const size_t i = indices.try_emplace(entry["image_id"], indices.size()).first->second;
    references.resize(indices.size());
    references[i].push_back(entry["caption"]);
  }
  Texts candidates(indices.size());
  const json predictions = read_json(folder / "karpathy_test_predictions.json");
  for (const json& entry : predictions) candidates[indices.at(entry["image_id"])] = entry["caption"];
  EXPECT_NEAR(corpus_score(candidates, references), expected["karpathy_test"]["METEOR"].get<double>(), 1e-12);

  for (const std::string name : {"clipscore", "pacscore"}) {  // rounded to four digits
    const auto known = read_json(folder / (name + "-example") / "refs.json").get<std::map<std::string, Texts>>();
    for (const std::string quality : {"good", "bad"}) {
      candidates.clear();
      references.clear();
      const json captions = read_json(folder / (name + "-example") / (quality + "_captions.json"));
      for (const auto& [image, caption] : captions.items()) {
        candidates.push_back(caption);
        references.push_back(known.at(image));
      }
      EXPECT_NEAR(corpus_score(candidates, references), expected[name + "_example"][quality]["METEOR"].get<double>(),
                  5.1e-5)
          << name << ", " << quality;
    }
  }

  const auto lines = [&](const char* name) {
    Texts result;
    std::istringstream stream(read_file(folder / "nlg-eval-example" / name));
    for (std::string line; std::getline(stream, line);) result.push_back(line);
    return result;
  };
  const Texts first = lines("ref1.txt"), second = lines("ref2.txt");
  references.clear();
  for (size_t i = 0; i < first.size(); ++i) references.push_back({first[i], second[i]});
  EXPECT_NEAR(corpus_score(lines("hyp.txt"), references), expected["nlg_eval_example"]["METEOR"].get<double>(), 5.1e-7);

  const json& evaluation = expected["language_evaluation"];
  EXPECT_NEAR(corpus_score(evaluation["predictions"], evaluation["references"]), evaluation["METEOR"].get<double>(),
              5.1e-7);
}

}  // namespace
}  // namespace readback::score
