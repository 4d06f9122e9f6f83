#include "readback/report/telephone.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/report/plot.h"
#include "readback/roundtrip/store.h"

namespace readback::report {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using roundtrip::Direction;

bool contains(const std::string& page, const std::string& part) { return page.find(part) != std::string::npos; }

class TelephonePage : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("readback-telephone-" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    for (const int round : {1, 2}) {
      const json options = {{"num_candidates", 1}, {"directions", {"i2t2i"}}, {"seed", 0}};
      auto store = roundtrip::Store::open_for_writing(folder_ / "i2t2i" / ("round-0" + std::to_string(round)),
                                                      {options, json::object(), json::object()});
      const roundtrip::SampleRow sample{"fox", 0, "", {}, ""};
      store.add_samples({&sample, 1});
      store.set_original("fox", image::Image(4, 4));
      roundtrip::CandidateRow row{.key = {Direction::kI2T2I, "fox", 0},
                                  .text = round == 1 ? "a red <fox>" : "a fox & nothing"};
      row.image = store.save_image(row.key, image::Image(4, 4));
      store.put_candidates({&row, 1});
    }
    const auto interval = [](double mean) { return json{{"mean", mean}, {"low", mean - 0.1}, {"high", mean + 0.1}}; };
    const auto round = [&](double value, double floor, double left) {
      return json{{"value", interval(value)}, {"floor", interval(floor)}, {"left", left}, {"step", nullptr}};
    };
    telephone_ = {
        {"format", 1},
        {"dataset", "foxes <all>"},
        {"captioner", "c"},
        {"generator", "g"},
        {"seed", 0},
        {"rounds", 2},
        {"command", "readback telephone foxes"},
        {"chains",
         json::array(
             {{{"direction", "i2t2i"},
               {"folders", {"i2t2i/round-01", "i2t2i/round-02"}},
               {"begun", {2, 1}},
               {"came_back", {1, 1}},
               {"metrics", json::array({{{"metric", "words"},
                                         {"title", "Words that survive"},
                                         {"formula", "share"},
                                         {"better", "higher"},
                                         {"samples", 1},
                                         {"rounds", {round(1, 0.25, 1), round(0.5, 0.25, 0.3333)}},
                                         {"half_life", {{"rounds", 0.75}, {"low", 0.5}, {"high", "more"}}}}})},
               {"words", json::array({{{"word", "<fox>"}, {"samples", 1}, {"mean_rounds", 2.0}, {"alive", 1.0}},
                                      {{"word", "red"}, {"samples", 1}, {"mean_rounds", 1.0}, {"alive", 0.0}}})},
               {"samples", json::array({{{"sample", "fox"}, {"words", {1.0, 0.5}}}})}}})}};
    write_file(folder_ / "telephone.json", telephone_.dump());
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path folder_;
  json telephone_;
};

TEST_F(TelephonePage, HasCurvesWordsAndChains) {
  EXPECT_TRUE(is_telephone(folder_));
  const std::string page = render_telephone(folder_);
  EXPECT_TRUE(contains(page, "foxes &lt;all&gt;"));
  EXPECT_TRUE(contains(page, "of which 1 came through all rounds"));
  EXPECT_TRUE(contains(page, "half-life: 0.8 rounds [0.5, over 1]"));
  EXPECT_TRUE(contains(page, "class=\"pairs\""));
  EXPECT_TRUE(contains(page, "<td class=\"n\">2.0</td>"));  // rounds that the fox lived
  EXPECT_TRUE(contains(page, "a red &lt;fox&gt;"));
  EXPECT_TRUE(contains(page, "a fox &amp; nothing"));
  size_t pictures = 0;
  for (size_t at = page.find("<img"); at != std::string::npos; at = page.find("<img", at + 1)) ++pictures;
  EXPECT_EQ(pictures, 3u);  // the start and one a round
  EXPECT_TRUE(contains(page, (folder_ / "i2t2i/round-02").string()));
}

TEST_F(TelephonePage, ItsFiguresAreSaidInLines) {
  EXPECT_EQ(telephone_sentences(folder_),
            std::vector<std::string>{"i2t2i, Words that survive: 1.00 after round 1, 0.500 after round 2 (random pairs "
                                     "0.250); half-life 0.8 rounds [0.5, over 1]"});
}

TEST_F(TelephonePage, WhatIsUnfinishedOrDamagedIsSaid) {
  write_file(folder_ / "telephone.json", R"({"chains": [{"direction": "i2t2i"}]})");
  EXPECT_THROW(render_telephone(folder_), DataError);
  const auto expect_damaged = [&](const char* path, const json& value) {
    json telephone = telephone_;
    telephone[json::json_pointer(path)] = value;
    write_file(folder_ / "telephone.json", telephone.dump());
    EXPECT_THROW(render_telephone(folder_), DataError) << path;
  };
  expect_damaged("/chains/0/metrics", json::array());
  expect_damaged("/chains/0/metrics/0/rounds", json::array());
  expect_damaged("/chains/0/begun", json::array());
  expect_damaged("/chains/0/folders", json::array());
  expect_damaged("/chains/0/samples/0/sample", "wolf");
  expect_damaged("/chains/0/samples/0/words", json::array());
  fs::remove(folder_ / "telephone.json");
  EXPECT_FALSE(is_telephone(folder_));
  write_file(folder_ / "telephone.lock", "");
  EXPECT_TRUE(is_telephone(folder_));
  EXPECT_THROW(render_telephone(folder_), DataError);
}

TEST(DriftPlot, LeavesOutWhatIsNot) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::string none = drift_plot({"it", true, {{}, {}}, {nan, nan}, nan}).html();
  EXPECT_TRUE(contains(none, "it: no values"));
  const std::string some = drift_plot({"it", false, {{1, 0, 2, 1}, {}, {3, 2, 4, 1}}, {nan, 5, 5}, 1.5}).html();
  EXPECT_FALSE(contains(some, "nan")) << some;
  const std::string marked = drift_plot({"it", true, {{4, 3, 5, 1}, {2, 1, 3, 1}}, {0, 0}, 1}).html();
  EXPECT_TRUE(contains(marked, "half-life: 1.0 rounds"));
}

}  // namespace
}  // namespace readback::report
