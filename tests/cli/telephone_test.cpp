// `readback telephone` on the small world, as it is shipped.
#include <nlohmann/json.hpp>
#include <set>

#include "program.h"
#include "readback/base/files.h"

namespace readback {
namespace {

using TelephoneVerb = Cli;

TEST_F(TelephoneVerb, PassesScenesOnAndDrawsThePage) {
  const std::string command =
      "telephone emoji-scenes --limit 3 --num-inference-steps 2 --guidance-scale 3 --output " + path("game");
  const Outcome first = run(command + " --rounds 1");
  ASSERT_EQ(first.status, 0) << first.err;
  EXPECT_EQ(first.out, path("game") + "/telephone.html\n");
  const Outcome more = run(command + " --rounds 2");
  ASSERT_EQ(more.status, 0) << more.err;
  EXPECT_NE(more.err.find("t2i2t, Words that survive: "), std::string::npos) << more.err;
  const nlohmann::json game = read_json(path("game/telephone.json"));
  ASSERT_EQ(game["chains"].size(), 2u);
  std::set<std::string> metrics;
  for (const auto& metric : game["chains"][0]["metrics"]) {
    metrics.insert(metric["metric"]);
    EXPECT_EQ(metric["rounds"].size(), 2u) << metric;
  }
  for (const char* metric : {"words", "oracle-text", "oracle-image", "cider", "clip-text", "clip-image"}) {
    EXPECT_TRUE(metrics.contains(metric)) << metric;
  }
  const std::string page = read_file(path("game/telephone.html"));
  const Outcome again = run("report " + path("game") + " --output " + path("again.html"));
  ASSERT_EQ(again.status, 0) << again.err;
  EXPECT_EQ(read_file(path("again.html")), page);
  EXPECT_EQ(run("report " + path("game/t2i2t/round-02")).status, 0);

  const Outcome other = run(command + " --rounds 2 --seed 1");
  EXPECT_EQ(other.status, 1);
  EXPECT_NE(other.err.find("seed: 0 in the run, 1 now"), std::string::npos) << other.err;
}

TEST_F(TelephoneVerb, HasTheFlagsOfARunThatARoundHas) {
  const std::string help = run("telephone --help").out;
  for (const char* flag : {"--rounds", "--do-sample", "--reading-num-beams", "--num-inference-steps", "--metrics"}) {
    EXPECT_NE(help.find(flag), std::string::npos) << flag;
  }
  for (const char* flag : {"--num-candidates", "--ceiling"}) EXPECT_EQ(help.find(flag), std::string::npos) << flag;
}

}  // namespace
}  // namespace readback
