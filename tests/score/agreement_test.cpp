#include "readback/score/agreement.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/score/text/caption_scores.h"
#include "readback/score/text/meteor/tables.h"
#include "tests/source_dir.h"

namespace readback::score {
namespace {

namespace fs = std::filesystem;
using Texts = std::vector<std::string>;

constexpr JudgementLayout kExpert = JudgementLayout::kFlickr8kExpert;
constexpr JudgementLayout kCrowdFlower = JudgementLayout::kFlickr8kCrowdFlower;
constexpr JudgementLayout kComposite = JudgementLayout::kComposite;

constexpr const char* kCaptions =
    "1.jpg#0\tA dog runs .\n"
    "1.jpg#1\tThe  dog is running .\n"
    "2.jpg.1#0\tA cat .\n"
    "2.jpg.1#1\tA dog runs .\n";

class JudgementsTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("readback_judgements_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  Judgements read(JudgementLayout layout, const std::string& judgements, const std::string& captions = kCaptions) {
    write_file(folder_ / "judgements.txt", judgements);
    write_file(folder_ / "captions.txt", captions);
    return read_judgements(layout, folder_ / "judgements.txt", folder_ / "captions.txt");
  }
  // What the error says after the folder.
  std::string message(JudgementLayout layout, const std::string& judgements, const std::string& captions = kCaptions) {
    try {
      read(layout, judgements, captions);
    } catch (const DataError& error) {
      const std::string text = error.what(), prefix = folder_.string() + "/";
      EXPECT_EQ(text.find(prefix), 0u) << text;
      return text.substr(std::min(prefix.size(), text.size()));
    }
    ADD_FAILURE() << judgements << " was read";
    return "";
  }

  fs::path folder_;
};

TEST_F(JudgementsTest, ExpertsScoresAreJudgementsOfCaptionsThatAreNotTheImagesOwn) {
  const Judgements found = read(kExpert,
                                "2.jpg\t1.jpg#1\t1\t2\t1\r\n"
                                "1.jpg\t2.jpg.1#0\t4\t3\t3\n"
                                "\n"
                                "2.jpg\t1.jpg#0\t3\t3\t3\n");  // in the words of its own second caption
  EXPECT_EQ(found.captions.ids, (Texts{"2.jpg 1.jpg#1", "2.jpg 1.jpg#1", "2.jpg 1.jpg#1", "1.jpg 2.jpg.1#0",
                                       "1.jpg 2.jpg.1#0", "1.jpg 2.jpg.1#0"}));
  EXPECT_EQ(found.captions.candidates[0], "The dog is running .");
  EXPECT_EQ(found.captions.references[0], (Texts{"A cat .", "A dog runs ."}));
  EXPECT_EQ(found.captions.references[3], (Texts{"A dog runs .", "The dog is running ."}));
  EXPECT_EQ(found.ratings, (std::vector<double>{1, 2, 1, 4, 3, 3}));
  EXPECT_EQ(found.image, (std::vector<int64_t>{0, 0, 0, 1, 1, 1}));
  EXPECT_EQ(found.images, 2);
  EXPECT_EQ(found.left_out, 1);
}

TEST_F(JudgementsTest, FilesOfWindowsReadTheSame) {
  const std::string judgements = "1.jpg\t2.jpg.1#0\t1\t2\t2\n";
  const auto windows = [](std::string text) {
    for (size_t at = 0; (at = text.find('\n', at)) != text.npos; at += 2) text.insert(at, 1, '\r');
    return "\xEF\xBB\xBF" + text;
  };
  const Judgements plain = read(kExpert, judgements), found = read(kExpert, windows(judgements), windows(kCaptions));
  EXPECT_EQ(found.captions.candidates, plain.captions.candidates);
  EXPECT_EQ(found.captions.references, plain.captions.references);
  EXPECT_EQ(plain.captions.candidates, (Texts{"A cat .", "A cat .", "A cat ."}));
}

TEST_F(JudgementsTest, CrowdFlowersJudgedCaptionsAreNoReferences) {
  const Judgements found = read(kCrowdFlower,
                                "1.jpg\t1.jpg#0\t0.6666666667\t2\t1\n"
                                "2.jpg\t1.jpg#1\t0\t0\t3\n"
                                "1.jpg\t2.jpg.1#0\t0.25\t1\t3\n");
  EXPECT_EQ(found.captions.ids, (Texts{"1.jpg 1.jpg#0", "1.jpg 2.jpg.1#0", "2.jpg 1.jpg#1"}));  // images together
  EXPECT_EQ(found.captions.references[0], Texts{"The dog is running ."});
  EXPECT_EQ(found.captions.references[1], Texts{"The dog is running ."});
  EXPECT_EQ(found.captions.references[2], (Texts{"A cat .", "A dog runs ."}));
  EXPECT_EQ(found.ratings, (std::vector<double>{0.6666666667, 0.25, 0}));
  EXPECT_EQ(found.images, 2);
  EXPECT_EQ(found.left_out, 0);
}

// A line as Mechanical Turk's results have it: 27 columns of the task come first.
std::string composite(const std::string& rest) { return std::string(27, ';') + rest; }

TEST_F(JudgementsTest, CompositesOwnCaptionsAreNoReferences) {
  const std::string captions =
      "1.jpg#0\tA dog runs .\n1.jpg#1\tThe dog is running .\n2.jpg#0\tA cat .\n2.jpg#1\tOne cat .\n";
  const Judgements found =
      read(kComposite,
           "HITId;…\n" + composite("http://a.b/c/1.jpg;a dog, runs;\"two; cats\";dog;5;1;2.5;;\n") +
               composite("http://a.b/c/2.jpg;A CAT;a bird;5;0\r\n") + "\n",
           captions);
  EXPECT_EQ(found.captions.candidates, (Texts{"a dog, runs", "two; cats", "dog", "A CAT", "a bird"}));
  EXPECT_EQ(found.captions.ids, (Texts{"1.jpg 0", "1.jpg 1", "1.jpg 2", "2.jpg 0", "2.jpg 1"}));
  EXPECT_EQ(found.image_names[3], "2.jpg");
  EXPECT_EQ(found.captions.references[1], Texts{"The dog is running ."});
  EXPECT_EQ(found.captions.references[4], Texts{"One cat ."});
  EXPECT_EQ(found.ratings, (std::vector<double>{5, 1, 2.5, 5, 0}));
  EXPECT_EQ(found.image, (std::vector<int64_t>{0, 0, 0, 1, 1}));

  // COCO's ids are numbers, its files' names are longer.
  const Judgements coco =
      read(kComposite, "…\n" + composite("http://a/COCO_val2014_000000000042.jpg;a;b;c;d;1;2;3;4\n"),
           R"({"annotations": [{"image_id": 42, "caption": "the sea"}]})");
  EXPECT_EQ(coco.captions.references[3], Texts{"the sea"});
  Judgements both = found;
  append(both, coco);
  EXPECT_EQ(both.images, 3);
  EXPECT_EQ(both.image, (std::vector<int64_t>{0, 0, 0, 1, 1, 2, 2, 2, 2}));
  EXPECT_EQ(both.captions.references[8], Texts{"the sea"});

  EXPECT_EQ(message(kComposite, "…\n" + composite("http://a/1.jpg;a;b;5\n"), captions),
            "judgements.txt, line 2: expected 28 columns between semicolons, captions and as many ratings from 0 to 5, "
            "got 31 columns and 1 ratings. Take lines away that are no judgements");
  EXPECT_EQ(message(kComposite, "…\nall;2\n", captions).find("judgements.txt, line 2: expected 28 columns"), 0u);
  EXPECT_EQ(message(kComposite, "…\n" + composite("http://a/9.jpg;a;5\n"), captions)
                .find("judgements.txt, line 2: expected an image that has captions in "),
            0u);
}

TEST_F(JudgementsTest, SayWhereAFileIsWrong) {
  const std::string good = "1.jpg\t2.jpg.1#0\t4\t3\t3\n";
  EXPECT_EQ(
      message(kExpert, good + "1.jpg\t2.jpg.1#0\t4\t3\n"),
      "judgements.txt, line 2: expected 5 columns between tabs (image, caption id, three experts' scores), got 4");
  EXPECT_EQ(message(kExpert, "1.jpg\t2.jpg.1#0\t4\t5\t3\n"),
            "judgements.txt, line 1: expected an expert's score from 1 to 4 in column 4, got \"5\"");
  EXPECT_EQ(message(kExpert, "1.jpg\t2.jpg.1#0\t0.5\t1\t1\n"),
            "judgements.txt, line 1: expected an expert's score from 1 to 4 in column 3, got \"0.5\"");
  EXPECT_EQ(message(kExpert, "3.jpg\t2.jpg.1#0\t4\t3\t3\n"),
            "judgements.txt, line 1: expected an image that has captions, got \"3.jpg\"");
  EXPECT_EQ(message(kExpert, "1.jpg\t2.jpg.1#7\t4\t3\t3\n"),
            "judgements.txt, line 1: expected a caption id of the captions' file, got \"2.jpg.1#7\"");
  EXPECT_EQ(message(kExpert, "\n"),
            "judgements.txt: expected at least one line (image, caption id, three experts' scores), got none");
  EXPECT_EQ(message(kExpert, "1.jpg\t1.jpg#0\t4\t4\t4\n"),
            "judgements.txt: expected captions that are not their image's own, got none");
  EXPECT_EQ(message(kExpert, good, std::string(kCaptions) + "no tab\n"),
            "captions.txt, line 5: expected 2 columns between tabs (caption id, caption), got 1");
  EXPECT_EQ(message(kExpert, good, "1.jpg\tA dog .\n"),
            "captions.txt, line 1: expected a caption id as IMAGE#0, got \"1.jpg\"");
  EXPECT_EQ(message(kExpert, good, "1.jpg#0\tA dog .\n1.jpg#0\tA cat .\n"),
            "captions.txt, line 2: expected each caption id once, got \"1.jpg#0\" again");
  EXPECT_EQ(message(kExpert, good, "1.jpg#0\tA caf\xE9 .\n"),
            "captions.txt, line 1: expected text in UTF-8, got other bytes");

  EXPECT_EQ(message(kCrowdFlower, good),
            "judgements.txt, line 1: expected a share of yes from 0 to 1 in column 3, got \"4\"");
  EXPECT_EQ(
      message(kCrowdFlower, "1.jpg\t2.jpg.1#0\t1\t1\t1\n"),
      "judgements.txt, line 1: expected the share that the numbers of yes and no give, got 1 with 1 yes and 1 no");
  EXPECT_EQ(message(kCrowdFlower, "1.jpg\t2.jpg.1#0\tnan\t1\t1\n"),
            "judgements.txt, line 1: expected a share of yes from 0 to 1 in column 3, got \"nan\"");
  EXPECT_EQ(message(kCrowdFlower, "1.jpg\t2.jpg.1#0\t0\t0\t0\n"),
            "judgements.txt, line 1: expected at least one answer, got 0 yes and 0 no");
  EXPECT_EQ(
      message(kCrowdFlower, "1.jpg\t1.jpg#0\t1\t3\t0\n1.jpg\t1.jpg#1\t1\t3\t0\n"),
      "judgements.txt: expected a caption of image 1.jpg that is not judged, got none, so nothing to compare with");
  EXPECT_THROW(parse_judgement_layout("flickr30k"), UsageError);
}

TEST_F(JudgementsTest, AgreementLeavesOutWhatHasNoValue) {
  const Judgements judgements = read(kExpert,
                                     "2.jpg\t1.jpg#1\t1\t2\t1\n"
                                     "1.jpg\t2.jpg.1#0\t4\t3\t3\n");
  const std::vector<double> values = {0.1, 0.3, std::nan(""), 0.8, 0.6, 0.7}, x = {0.1, 0.3, 0.8, 0.6, 0.7},
                            y = {1, 2, 4, 3, 3};
  const Agreement found = agreement(values, judgements, {.resamples = 10});
  EXPECT_EQ(found.judgements, 5);
  EXPECT_EQ(found.correlations.kendall_tau_b.mean, kendall_tau_b(x, y));
  EXPECT_EQ(found.correlations.kendall_tau_b.count, 2);
  EXPECT_EQ(found.correlations.pearson.mean, pearson(x, y));
  EXPECT_THROW(agreement(x, judgements), DataError);
}

TEST(Flickr8kExpert, AgreesWithPeopleAsPublished) {
  SKIP_WITHOUT_SHARED_DATA("flickr8k-judgements");
  const fs::path shared = tests::shared_data(), folder = shared / "flickr8k-judgements";
  const Judgements judgements =
      read_judgements(kExpert, folder / "ExpertAnnotations.txt", folder / "Flickr8k.token.txt");
  EXPECT_EQ(judgements.ratings.size(), 16992u);
  EXPECT_EQ(judgements.left_out, 158);
  EXPECT_EQ(judgements.images, 1000);

  CaptionScoreOptions options;
  if (!has_meteor_tables()) std::erase(options.metrics, "meteor");
  std::map<std::string, const CaptionScore*> by_title;
  const CaptionScores scores = score_captions(judgements.captions, options);
  for (const CaptionScoreGroup& group : scores.groups) {
    for (const CaptionScore& score : group.scores) by_title[score.title] = &score;
  }
  const nlohmann::json expected = read_json(shared / "caption-metrics/expected.json")["flickr8k_expert"];
  for (const auto& [key, title] : std::map<std::string, std::string>{{"BLEU-1", "BLEU-1"},
                                                                     {"BLEU-4", "BLEU-4"},
                                                                     {"METEOR", "METEOR"},
                                                                     {"ROUGE_L", "ROUGE-L"},
                                                                     {"CIDEr", "CIDEr"}}) {
    if (title == "METEOR" && !has_meteor_tables()) continue;
    const std::vector<double>& values = by_title.at(title)->samples;
    EXPECT_NEAR(100 * kendall_tau_b(values, judgements.ratings), expected["kendall_tau_b"][key].get<double>(), 0.01)
        << title;
    EXPECT_NEAR(100 * kendall_tau_c(values, judgements.ratings), expected["kendall_tau_c"][key].get<double>(), 0.01)
        << title;
  }
  if (!has_meteor_tables()) GTEST_SKIP() << "METEOR was left out: `readback score prepare-meteor` makes its tables";
}

}  // namespace
}  // namespace readback::score
