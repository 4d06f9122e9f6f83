#include "readback/report/learning.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/files.h"

namespace readback::report {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class LearningPage : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("readback-learning-" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    write_file(folder_ / "learning.json",
               R"({"options": {"rounds": 2, "collect": {"pictures": "photos"}}, "start": {}})");
  }
  void TearDown() override { fs::remove_all(folder_); }

  void add_round(int number, double reward, double held_out, const std::vector<std::string>& parted = {}) {
    const auto row = [&](const char* metric, const char* role, double value, const char* verdict) {
      return json{{"direction", "i2t2i"},
                  {"metric", metric},
                  {"title", std::string("Title of ") + metric},
                  {"better", "higher"},
                  {"role", role},
                  {"value", {{"mean", value}, {"low", value - 0.01}, {"high", value + 0.01}, {"samples", 9}}},
                  {"floor", nullptr},
                  {"verdict", verdict}};
    };
    const json round = {
        {"round", number},
        {"metrics", {row("held", "held out", held_out, number > 0 ? "worse" : ""), row("psnr", "reward", reward, "")}},
        {"drift", {{"captioner", 0.25 * number}}},
        {"captions", {{"distinct_1", 0.5}, {"distinct_2", 0.25}, {"entropy_2", 3.5}, {"distinct_texts", 1}}},
        {"parted", parted}};
    write_file(folder_ / "rounds" / std::to_string(number) / "judgement.json", round.dump());
  }

  fs::path folder_;
};

bool contains(const std::string& page, const std::string& part) { return page.find(part) != std::string::npos; }

TEST_F(LearningPage, HasEachRoundsMetricsTheRewardFirst) {
  EXPECT_TRUE(is_learning(folder_));
  EXPECT_THROW(render_learning(folder_), DataError);  // nothing is judged yet
  add_round(0, 10.5, 0.75);
  EXPECT_TRUE(contains(render_learning(folder_), "the models before they learned"));
  add_round(1, 12.5, 0.5, {"CIDEr <fell>"});
  fs::create_directories(folder_ / "rounds/1/pictures");
  const std::string page = render_learning(folder_);
  EXPECT_TRUE(contains(page, "1 round of learning from what returned, which did harm"));
  EXPECT_TRUE(contains(page, "Round 1: CIDEr &lt;fell&gt;"));
  EXPECT_LT(page.find("Title of psnr"), page.find("Title of held"));
  EXPECT_TRUE(contains(page, "0.500 ✗"));
  EXPECT_TRUE(contains(page, "0.250"));  // the captioner's divergence
  EXPECT_TRUE(contains(page, "readback report " + (folder_ / "rounds/1/pictures").string()));
  EXPECT_TRUE(contains(page, "collect.pictures = &quot;photos&quot;"));
}

TEST_F(LearningPage, SaysWhichFileIsDamaged) {
  add_round(0, 10.5, 0.75);
  write_file(folder_ / "rounds/1/judgement.json", "[]");
  try {
    render_learning(folder_);
    ADD_FAILURE() << "it was read";
  } catch (const DataError& error) {
    EXPECT_TRUE(contains(error.what(), "rounds/1/judgement.json")) << error.what();
  }
  write_file(folder_ / "rounds/1/judgement.json", R"({"metrics": [{"direction": "i2t2i"}]})");
  EXPECT_THROW(render_learning(folder_), DataError);
}

}  // namespace
}  // namespace readback::report
