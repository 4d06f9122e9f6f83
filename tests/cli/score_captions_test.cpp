// `readback score captions`, `document-frequencies` and `agreement` as scripts call them.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "program.h"
#include "readback/base/files.h"

namespace readback {
namespace {

class ScoreCaptions : public Cli {
 protected:
  void SetUp() override {
    Cli::SetUp();
    write_file(path("mine.json"), R"([{"image_id": 1, "caption": "a cat sits on the mat"},
                                      {"image_id": 2, "caption": "a brown dog runs"}])");
    write_file(path("theirs.json"), R"({"1": "a cat", "2": "the tree"})");
    write_file(path("first.txt"), "a cat sits on a mat\na brown dog runs in a park\n");
    write_file(path("references.json"),
               R"({"annotations": [{"id": 1, "image_id": 1, "caption": "a cat sits on a mat"},
                                   {"id": 2, "image_id": 2, "caption": "a brown dog runs in a park"},
                                   {"id": 3, "image_id": 1, "caption": "one cat"}]})");
  }
  std::string files() const {
    return "score captions --predictions " + path("mine.json") + " --references " + path("references.json");
  }
};

TEST_F(ScoreCaptions, SaysWhatEachDomainScores) {
  write_file(path("references.json"),
             R"({"images": [{"id": 1, "domain": "near-domain"}, {"id": 2, "domain": "out-domain"}],
    "annotations": [{"image_id": 1, "caption": "a cat sits on a mat"}, {"image_id": 2, "caption": "a brown dog runs"}]})");
  const Outcome result = run(files() + " --metrics rouge,bleu,cider --format json");
  ASSERT_EQ(result.status, 0) << result.err;
  const auto metrics = nlohmann::ordered_json::parse(result.out)["metrics"];
  for (const char* metric : {"ROUGE-L", "CIDEr"}) {
    const auto& domains = metrics[metric]["domains"];
    ASSERT_EQ(domains.size(), 2u) << result.out;
    EXPECT_EQ(domains.begin().key(), "near-domain");
    EXPECT_EQ(domains["near-domain"]["n"], 1);
    // One caption each: the whole's mean is that of the two.
    EXPECT_NEAR((domains["near-domain"]["value"].get<double>() + domains["out-domain"]["value"].get<double>()) / 2,
                metrics[metric]["value"].get<double>(), 1e-12);
  }
  EXPECT_EQ(metrics["ROUGE-L"]["domains"]["out-domain"]["value"], 1);
  EXPECT_NEAR(metrics["BLEU-2"]["domains"]["out-domain"]["value"].get<double>(), 1, 1e-9);  // of its own counts
  EXPECT_LT(metrics["BLEU-2"]["value"].get<double>(), 1);
  const std::string text = run(files() + " --metrics rouge").out;
  EXPECT_NE(text.find("near-domain, 1 sample\n"), std::string::npos) << text;
}

TEST_F(ScoreCaptions, PrintsJsonAndEverySamplesScores) {
  const Outcome result =
      run(files() + " --metrics bleu,rouge,cider,cider-d --format json --per-sample " + path("samples.jsonl"));
  ASSERT_EQ(result.status, 0) << result.err;
  const auto metrics = nlohmann::json::parse(result.out)["metrics"];
  for (const char* name : {"BLEU-1", "BLEU-4", "ROUGE-L", "CIDEr", "CIDEr-D"}) {
    ASSERT_TRUE(metrics.contains(name)) << name;
    EXPECT_LE(metrics[name]["low"], metrics[name]["value"]);
    EXPECT_GE(metrics[name]["high"], metrics[name]["value"]);
    EXPECT_EQ(metrics[name]["n"], 2);
    EXPECT_FALSE(metrics[name]["formula"].get<std::string>().empty());
  }
  std::istringstream lines(read_file(path("samples.jsonl")));
  double sum = 0;
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const auto sample = nlohmann::json::parse(line);
    EXPECT_EQ(sample["id"], std::to_string(count + 1));
    sum += sample["CIDEr"].get<double>();
  }
  EXPECT_EQ(count, 2);
  EXPECT_NEAR(sum / 2, metrics["CIDEr"]["value"].get<double>(), 1e-12);
}

TEST_F(ScoreCaptions, ComparesWithABaseline) {
  const Outcome result = run(files() + " --baseline " + path("theirs.json") + " --metrics bleu,rouge --format json");
  ASSERT_EQ(result.status, 0) << result.err;
  const auto rouge = nlohmann::json::parse(result.out)["metrics"]["ROUGE-L"];
  EXPECT_NEAR(rouge["value"].get<double>() - rouge["baseline"]["value"].get<double>(),
              rouge["baseline"]["difference"]["value"].get<double>(), 1e-12);
  EXPECT_GT(rouge["baseline"]["difference"]["value"], 0);
  EXPECT_EQ(rouge["baseline"]["p"], 0.5);  // two samples: two of four swaps differ as much
  EXPECT_EQ(rouge["baseline"]["p_holm"], 1);
}

TEST_F(ScoreCaptions, TakesFrequenciesOfTheirSetOnly) {
  ASSERT_EQ(
      run("score document-frequencies --references " + path("references.json") + " --output " + path("set.df")).status,
      0);
  const auto value = [&](const std::string& more) {
    return nlohmann::json::parse(
        run(files() + " --metrics cider --format json" + more).out)["metrics"]["CIDEr"]["value"];
  };
  EXPECT_EQ(value(" --document-frequencies " + path("set.df")), value(""));

  write_file(path("other.txt"), "eine Katze\nein Hund\n");
  ASSERT_EQ(
      run("score document-frequencies --references " + path("other.txt") + " --output " + path("other.df")).status, 0);
  const Outcome refused = run(files() + " --metrics cider --document-frequencies " + path("other.df"));
  EXPECT_EQ(refused.status, 1);
  EXPECT_NE(refused.err.find("0 % of their words"), std::string::npos) << refused.err;
  const Outcome forced = run(files() + " --allow-missing --metrics cider --document-frequencies " + path("other.df"));
  EXPECT_EQ(forced.status, 0);
  EXPECT_NE(forced.err.find("knows 0 % of the references' words"), std::string::npos) << forced.err;
}

TEST_F(ScoreCaptions, SaysWhatDoesNotMatch) {
  write_file(path("more.json"), R"({"1": "a cat", "2": "a dog", "zebra": "a zebra"})");
  const std::string command =
      "score captions --metrics bleu --predictions " + path("more.json") + " --references " + path("first.txt");
  const Outcome result = run(command);
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("none for zebra"), std::string::npos) << result.err;
  const Outcome part = run(command + " --allow-missing --format json");
  EXPECT_EQ(part.status, 0);
  EXPECT_NE(part.err.find("1 of 3 ids are left out, since only one side has them: zebra"), std::string::npos)
      << part.err;
  EXPECT_EQ(nlohmann::json::parse(part.out)["left_out"],
            (nlohmann::json{{"count", 1}, {"of", 3}, {"first", {"zebra"}}}));
  // The baseline's own ids count too, each once.
  write_file(path("other.json"), R"({"1": "a cat", "2": "a dog", "zebra": "a zebra", "yak": "a yak"})");
  const Outcome compared = run(command + " --allow-missing --format json --baseline " + path("other.json"));
  EXPECT_EQ(nlohmann::json::parse(compared.out)["left_out"],
            (nlohmann::json{{"count", 2}, {"of", 4}, {"first", {"zebra", "yak"}}}));
  const Outcome whole = run(files() + " --metrics bleu --allow-missing --format json");
  EXPECT_EQ(whole.err.find("left out"), std::string::npos) << whole.err;
  EXPECT_EQ(nlohmann::json::parse(whole.out)["left_out"]["count"], 0);
  EXPECT_EQ(run(files() + " --metrics blue").status, 2);

  write_file(path("empty.txt"), "a cat\n\n");
  const Outcome empty =
      run("score captions --metrics bleu --predictions " + path("empty.txt") + " --references " + path("first.txt"));
  EXPECT_EQ(empty.status, 0);
  EXPECT_NE(empty.err.find("1 of the captions are empty"), std::string::npos) << empty.err;
}

TEST_F(ScoreCaptions, AgreeWithPeopleWhereTheyKnowTheWords) {
  write_file(path("captions.txt"), "1.jpg#0\tA dog runs .\n2.jpg#0\tA cat sleeps .\n3.jpg#0\tThe dog runs fast .\n");
  write_file(path("judgements.txt"), "1.jpg\t3.jpg#0\t4\t4\t3\n1.jpg\t2.jpg#0\t1\t1\t1\n2.jpg\t3.jpg#0\t1\t1\t2\n");
  const Outcome result =
      run("score agreement --layout flickr8k-expert --metrics bleu,rouge --format json --judgements " +
          path("judgements.txt") + " --captions " + path("captions.txt"));
  ASSERT_EQ(result.status, 0) << result.err;
  const auto bleu = nlohmann::json::parse(result.out)["metrics"]["BLEU-1"];
  EXPECT_EQ(bleu["n"], 9);
  EXPECT_EQ(bleu["undefined"], 0);
  EXPECT_GT(bleu["tau_b"], 0.5);
  EXPECT_GT(bleu["tau_c"], 0.5);
}

TEST_F(ScoreCaptions, AgreeWithPeopleOnPairs) {
  write_file(path("pairs.jsonl"), R"({"image": "x.jpg", "captions": ["a cat sits", "red"], "votes": [40, 8], )"
                                  R"("category": "HC", "references": ["a cat sits down", "the cat sits"]})"
                                  "\n"
                                  R"({"image": "y.jpg", "captions": ["blue", "a dog runs"], "votes": [8, 40], )"
                                  R"("category": "MM", "references": ["the dog runs", "a dog runs fast"]})");
  const std::string verb =
      "score agreement --layout pascal-50s --metrics rouge,bleu --judgements " + path("pairs.jsonl");
  const Outcome result = run(verb + " --num-references 1 --draws 3 --format json --data-set " + path("judged.jsonl"));
  ASSERT_EQ(result.status, 0) << result.err;
  const auto rouge = nlohmann::json::parse(result.out)["metrics"]["ROUGE-L"];
  EXPECT_EQ(rouge["accuracy"]["value"], 1);
  EXPECT_EQ(rouge["categories"]["HC"]["value"], 1);
  EXPECT_EQ(rouge["categories"]["MM"]["n"], 1);
  EXPECT_NE(run(verb).out.find("HC"), std::string::npos);
  EXPECT_NE(read_file(path("judged.jsonl")).find(R"({"id":"0 B","image":"x.jpg","captions":["red"]})"),
            std::string::npos);
  EXPECT_EQ(run(verb + " --captions " + path("first.txt")).status, 2);
}

// The words are drawn and read back; what comes back is a value of the judged caption as any other.
TEST_F(ScoreCaptions, AgreementOfWhatComesBack) {
  write_file(path("captions.txt"),
             "1.jpg#0\ta fox on a blue background\n2.jpg#0\ta cat on a red background\n3.jpg#0\ta rocket on a pink "
             "background\n");
  write_file(path("judgements.txt"), "1.jpg\t3.jpg#0\t4\t4\t3\n1.jpg\t2.jpg#0\t1\t1\t1\n2.jpg\t3.jpg#0\t1\t1\t2\n");
  const std::string verb = "score agreement --layout flickr8k-expert --metrics rouge --format json --judgements " +
                           path("judgements.txt") + " --captions " + path("captions.txt");
  ASSERT_EQ(run(verb + " --data-set " + path("judged.jsonl")).status, 0);
  std::string data_set = read_file(path("judged.jsonl"));
  EXPECT_NE(data_set.find(R"({"id":"1.jpg 3.jpg#0","image":"1.jpg","captions":["a rocket on a pink background"]})"),
            std::string::npos)
      << data_set;
  for (const std::string picture : {R"("image":"1.jpg",)", R"("image":"2.jpg",)"}) {  // there are none here
    for (size_t at = 0; (at = data_set.find(picture)) != std::string::npos;) data_set.erase(at, picture.size());
  }
  write_file(path("judged.jsonl"), data_set);
  const Outcome made = run("run jsonl:" + path("judged.jsonl") +
                           " --directions t2i2t --num-candidates 1 --num-inference-steps 1 --metrics clip-text,cider "
                           "--output " +
                           path("run"));
  ASSERT_EQ(made.status, 0) << made.err;
  const Outcome result = run(verb + " --run " + path("run"));
  ASSERT_EQ(result.status, 0) << result.err;
  const auto metrics = nlohmann::json::parse(result.out)["metrics"];
  for (const char* name : {"clip-text", "cider", "ROUGE-L"}) {
    ASSERT_TRUE(metrics.contains(name)) << name;
    EXPECT_EQ(metrics[name]["n"], 9) << name;
  }
  write_file(path("judgements.txt"), "2.jpg\t1.jpg#0\t4\t4\t3\n");
  const Outcome other = run(verb + " --run " + path("run"));
  EXPECT_EQ(other.status, 1);
  EXPECT_NE(other.err.find("whose samples are the judged captions"), std::string::npos) << other.err;
}

}  // namespace
}  // namespace readback
