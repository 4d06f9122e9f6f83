// `readback compare` as scripts call it.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "program.h"

namespace readback {
namespace {

class CompareVerb : public Cli {
 protected:
  // Prompts of two domains, drawn and read back.
  void make_run(const std::string& name, const std::string& more = "") const {
    if (!std::filesystem::exists(path("prompts.jsonl"))) {
      write_file(path("prompts.jsonl"),
                 "{\"id\": \"a\", \"caption\": \"a fox on a blue background\", \"domain\": \"near\"}\n"
                 "{\"id\": \"b\", \"caption\": \"a rocket on a red background\", \"domain\": \"far\"}\n"
                 "{\"id\": \"c\", \"caption\": \"a cat on a red background\", \"domain\": \"near\"}\n");
    }
    const Outcome made = run("run " + path("prompts.jsonl") +
                             " --directions t2i2t --num-candidates 2 --num-inference-steps 1 --metrics cider,rouge-l "
                             "--output " +
                             path(name) + " " + more);
    ASSERT_EQ(made.status, 0) << made.err;
  }
};

TEST_F(CompareVerb, PrintsATableAndJson) {
  make_run("first");
  make_run("second", "--seed 1");
  const std::string runs = path("first") + " " + path("second");
  const Outcome text = run("compare " + runs + " --by-domain --disagree cider --top 1");
  ASSERT_EQ(text.status, 0) << text.err;
  for (const std::string& part :
       {path("first") + ": 3 samples, 2 candidates; the baseline", std::string("3 samples are in all runs"),
        std::string("seed  0 against 1"), std::string("t2i2t  CIDEr (cider, higher is better), 3 samples"),
        std::string("(cider, higher is better), near, 2 samples"), std::string("to the baseline, p = "),
        "Where " + path("first") + " and " + path("second") + " disagree most by cider"}) {
    EXPECT_NE(text.out.find(part), std::string::npos) << part << "\n" << text.out;
  }

  const Outcome json = run("compare " + runs + " --format json --baseline " + path("second/") + " --disagree cider");
  ASSERT_EQ(json.status, 0) << json.err;
  const auto result = nlohmann::json::parse(json.out);
  EXPECT_EQ(result["baseline"], path("second"));
  EXPECT_EQ(result["differences"], nlohmann::json::parse(R"([{"option": "seed", "values": [0, 1]}])"));
  ASSERT_EQ(result["metrics"].size(), 2u);
  const auto& cider = result["metrics"][0];
  EXPECT_EQ(cider["metric"], "cider");
  EXPECT_TRUE(cider["domain"].is_null());
  EXPECT_FALSE(cider["runs"][1].contains("difference"));
  EXPECT_NEAR(cider["runs"][0]["difference"]["value"].get<double>(),
              cider["runs"][0]["value"].get<double>() - cider["runs"][1]["value"].get<double>(), 1e-12);
  EXPECT_LE(cider["runs"][0]["p"], cider["runs"][0]["p_holm"]);
  ASSERT_FALSE(result["disagreements"].empty());
  const auto& widest = result["disagreements"][0];
  EXPECT_EQ(widest["run"], path("first"));
  EXPECT_TRUE(std::filesystem::exists(path("second/" + widest["baseline"]["image"].get<std::string>())));
  EXPECT_FALSE(widest["other"]["text"].get<std::string>().empty());
}

TEST_F(CompareVerb, RefusesWhatCannotBeCompared) {
  make_run("first");
  const Outcome one = run("compare " + path("first"));
  EXPECT_EQ(one.status, 2);
  EXPECT_NE(one.err.find("expected two or more, got 1"), std::string::npos) << one.err;
  write_file(path("prompts.jsonl"), "{\"id\": \"z\", \"caption\": \"a cat\"}\n");
  make_run("other");
  const Outcome nothing = run("compare " + path("first") + " " + path("other"));
  EXPECT_EQ(nothing.status, 1);
  EXPECT_NE(nothing.err.find("expected samples that all of them have, got none"), std::string::npos) << nothing.err;
  const Outcome unknown = run("compare " + path("first") + " " + path("first") + " --metrics clip-image");
  EXPECT_EQ(unknown.status, 2);
  EXPECT_NE(unknown.err.find("some of cider, rouge-l, got \"clip-image\""), std::string::npos) << unknown.err;
}

}  // namespace
}  // namespace readback
