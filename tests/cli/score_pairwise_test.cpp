// readback score texts, pairs and images on files as people have them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "../models/hashed.h"
#include "program.h"
#include "readback/image/codec.h"
#include "tests/source_dir.h"

namespace readback {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

const fs::path kGoldens = tests::source_dir() / "tests/goldens/score";
const std::string kVectors = (kGoldens / "wmd/vectors.txt").string();

class Score : public Cli {
 protected:
  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name) << text;
  }
  void picture(const std::string& name, int64_t seed, int64_t width = 40, int64_t height = 32) const {
    fs::create_directories((folder_ / name).parent_path());
    image::save(models::picture(width, height, seed), folder_ / name);
  }
  // What the program prints with --format json.
  json scores(const std::string& arguments) const {
    const Outcome result = run("score " + arguments + " --format json --threads 1");
    EXPECT_EQ(result.status, 0) << result.err;
    return result.status == 0 ? json::parse(result.out) : json();
  }
  json metrics(const std::string& arguments) const { return scores(arguments).at("metrics"); }
  std::vector<json> lines(const std::string& name) const {
    std::vector<json> result;
    std::istringstream text(read_file(folder_ / name));
    for (std::string line; std::getline(text, line);) result.push_back(json::parse(line));
    return result;
  }
  // Fails with this status and says this.
  void expect_refused(const std::string& arguments, int status, const std::vector<std::string>& said) const {
    const Outcome result = run("score " + arguments);
    EXPECT_EQ(result.status, status) << arguments << "\n" << result.err;
    for (const std::string& text : said) {
      EXPECT_NE(result.err.find(text), std::string::npos) << arguments << "\n" << result.err;
    }
  }
};

using ScoreTexts = Score;
using ScorePairs = Score;
using ScoreImages = Score;

TEST_F(ScoreTexts, EveryPairAsGensimWithIntervalsAndFloor) {
  const json golden = read_json(kGoldens / "wmd/cases.json");
  json left = json::object(), right = json::object();
  std::map<std::string, double> expected;
  for (const json& row : golden.at("cases")) {
    const std::string id = "case " + std::to_string(left.size());
    left[id] = row.at("left");
    right[id] = row.at("right");
    expected[id] = row.at("exact").is_null() ? NAN : row.at("exact").get<double>();
  }
  write("left.json", left.dump());
  write("right.json", right.dump());
  const json result = metrics("texts --left " + path("left.json") + " --right " + path("right.json") +
                              " --metrics wmd --vectors " + kVectors + " --per-sample " + path("samples.jsonl"));
  double sum = 0;
  int64_t defined = 0;
  for (const json& line : lines("samples.jsonl")) {
    const double value = expected.at(line.at("id"));
    EXPECT_EQ(line.at("WMD").is_null(), std::isnan(value)) << line;
    if (std::isnan(value)) continue;
    EXPECT_NEAR(line.at("WMD"), value, 1e-9) << line;
    sum += value;
    ++defined;
  }
  const json& wmd = result.at("WMD");
  EXPECT_NEAR(wmd.at("value"), sum / static_cast<double>(defined), 1e-9);
  EXPECT_EQ(wmd.at("n"), defined);
  EXPECT_EQ(wmd.at("undefined"), 3);
  EXPECT_LT(wmd.at("low"), wmd.at("value"));
  EXPECT_GT(wmd.at("high"), wmd.at("value"));
  EXPECT_GT(wmd.at("floor").at("value"), wmd.at("value"));
  EXPECT_EQ(wmd.at("checkpoint"), "vectors.txt");
  EXPECT_NE(wmd.at("formula").get<std::string>().find("Word Mover"), std::string::npos);
}

TEST_F(ScoreTexts, TakesWhatTheGivenCheckpointsAllow) {
  write("left.txt", "a dog\nA dog.\n");
  write("right.txt", "a cat\na cat\n");
  const json result = metrics("texts --left " + path("left.txt") + " --right " + path("right.txt") + " --vectors " +
                              kVectors + " --sbert " + (kGoldens / "sentence").string());
  EXPECT_EQ(result.size(), 3u) << result;
  EXPECT_EQ(result.at("WMD").at("n"), 1);      // "dog." is no word of the vectors
  EXPECT_EQ(result.at("WMD-PTB").at("n"), 2);  // but a token
  EXPECT_EQ(result.at("SBERT").at("n"), 2);
  const json both = metrics("texts --left " + path("left.txt") + " --right " + path("right.txt") +
                            " --metrics clip --clip emoji-scenes/clip");
  EXPECT_TRUE(both.contains("CLIP") && both.contains("CLIP-pooled")) << both;
}

TEST_F(ScoreTexts, BadInput) {
  const std::string vectors = " --metrics wmd --vectors " + kVectors;
  const auto files = [&](const std::string& left, const std::string& right) {
    return "texts --left " + path(left) + " --right " + path(right);
  };
  write("two.txt", "a dog\na cat\n");
  write("three.txt", "a dog\na cat\n\n");
  write("named.json", R"({"a": "a dog", "b": "a cat"})");
  write("more.json", R"({"a": "a dog", "b": "a cat", "extra": "two dogs"})");
  write("latin1.txt", "a caf\xE9\na cat\n");
  write("nan.txt", "dog 1 2\ncat nan 3\n");
  write("empty.txt", "");
  expect_refused(files("named.json", "more.json") + vectors, 1, {"extra", "allow_missing"});
  expect_refused(files("two.txt", "named.json") + vectors, 1, {"none of them"});
  expect_refused(files("latin1.txt", "two.txt") + vectors, 1, {"latin1.txt", "UTF-8"});
  expect_refused(files("empty.txt", "two.txt") + vectors, 1, {"empty.txt"});
  expect_refused(files("nothing.txt", "two.txt") + vectors, 1, {"nothing.txt"});
  expect_refused(files("two.txt", "two.txt") + " --vectors " + path("nan.txt"), 1, {"line 2", "\"nan\""});
  expect_refused(files("two.txt", "two.txt") + " --metrics bert" + vectors, 2, {"sbert, wmd"});
  expect_refused(files("two.txt", "two.txt") + " --metrics sbert", 2, {"option sbert"});
  expect_refused(files("two.txt", "two.txt"), 2, {"--vectors"});
  const json part = scores(files("named.json", "more.json") + " --allow-missing" + vectors);
  EXPECT_EQ(part.at("metrics").at("WMD").at("n"), 2);
  EXPECT_EQ(part.at("left_out"), (json{{"count", 1}, {"of", 3}, {"first", {"extra"}}}));
}

TEST_F(ScoreTexts, EmptyAndEndlessCaptions) {
  std::string endless;
  for (int i = 0; i < 10000; ++i) endless += fmt::format("word{} ", i % 60);
  write("left.json", json{{"a", ""}, {"b", endless}, {"c", "a dog"}}.dump());
  write("right.json", json{{"a", "a dog"}, {"b", "a cat"}, {"c", ""}}.dump());
  const std::string arguments = "texts --left " + path("left.json") + " --right " + path("right.json") +
                                " --per-sample " + path("samples.jsonl") + " --vectors " + kVectors + " --sbert " +
                                (kGoldens / "sentence").string();
  const Outcome result = run("score " + arguments);
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.err.find("WMD is undefined for 2 of 3"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("did not fit SBERT"), std::string::npos) << result.err;
  const std::vector<json> samples = lines("samples.jsonl");
  ASSERT_EQ(samples.size(), 3u);
  EXPECT_TRUE(samples[0].at("WMD").is_null());
  EXPECT_TRUE(samples[1].at("WMD").is_number() && samples[1].at("SBERT").is_number());
}

TEST_F(ScorePairs, AsTransformers) {
  const json golden = read_json(kGoldens / "clipscore/cases.json");
  json captions = json::object(), references = json::object();
  double sum = 0, reference_sum = 0;
  for (const json& row : golden.at("cases")) {
    const std::string name = fmt::format("{:012}", captions.size());
    picture("images/" + name + ".png", static_cast<int64_t>(captions.size()), row.at("width"), row.at("height"));
    references[name + ".png"] = row.at("references");
    captions[std::to_string(captions.size())] = row.at("caption");
    sum += row.at("clipscore").get<double>();
    reference_sum += row.at("refclipscore").get<double>();
  }
  write("captions.json", captions.dump());
  write("references.json", references.dump());
  const std::string arguments = "pairs --images " + path("images") + " --captions " + path("captions.json") +
                                " --references " + path("references.json") + " --clip " +
                                (kGoldens / "clipscore").string() + " --per-sample " + path("samples.jsonl");
  const json result = metrics(arguments + " --metrics clipscore,refclipscore");
  const auto count = static_cast<double>(captions.size());
  EXPECT_NEAR(result.at("CLIPScore").at("value"), sum / count, 1e-5);
  EXPECT_NEAR(result.at("RefCLIPScore").at("value"), reference_sum / count, 1e-5);
  EXPECT_EQ(result.at("CLIPScore").at("n"), captions.size());
  EXPECT_TRUE(result.at("CLIPScore").contains("floor"));
  EXPECT_NE(result.at("CLIPScore").at("formula").get<std::string>().find("A photo depicts"), std::string::npos);
  const std::vector<json> samples = lines("samples.jsonl");
  for (size_t i = 0; i < samples.size(); ++i) {
    EXPECT_EQ(samples[i].at("id"), fmt::format("{:012}", i));
    EXPECT_NEAR(samples[i].at("RefCLIPScore"), golden.at("cases").at(i).at("refclipscore"), 1e-5);
  }
  const Outcome text = run("score " + arguments);
  EXPECT_NE(text.err.find("did not fit CLIP"), std::string::npos) << text.err;
}

TEST_F(ScorePairs, SeveralCaptionsAreAveragedAndLinesGoInOrder) {
  for (const char* name : {"a", "b"}) picture(fmt::format("images/{}.png", name), name[0]);
  const std::string tail = " --clip " + (kGoldens / "clipscore").string() + " --images " + path("images");
  write("one.json", R"({"a": "a dog", "b.png": "a red bus"})");
  write("other.json", R"({"a": "two people", "b": "a red bus"})");
  write("both.json", R"({"a": ["a dog", "two people"], "b": ["a red bus"]})");
  write("lines.txt", "a dog\na red bus\n");
  const auto value = [&](const char* file) {
    return metrics("pairs --captions " + path(file) + tail).at("CLIPScore").at("value").get<double>();
  };
  EXPECT_NEAR(value("both.json"), (value("one.json") + value("other.json")) / 2, 1e-6);
  EXPECT_NEAR(value("lines.txt"), value("one.json"), 1e-6);
  EXPECT_NE(run("score pairs --captions " + path("lines.txt") + tail).err.find("has no ids"), std::string::npos);
}

TEST_F(ScorePairs, BadInput) {
  picture("images/a.png", 0);
  picture("images/b.png", 1);
  const std::string head = "pairs --images " + path("images") + " --clip " + (kGoldens / "clipscore").string();
  write("one.json", R"({"a": "a dog"})");
  write("wrong.json", R"({"c": "a dog", "d": "a dog"})");
  write("both.json", R"({"a": "a dog", "b": "a cat"})");
  write("lines.txt", "a dog\na cat\ntwo dogs\n");
  expect_refused(head + " --captions " + path("one.json"), 1, {"none for b", "allow_missing"});
  expect_refused(head + " --captions " + path("wrong.json"), 1, {"none of them", "c, d"});
  expect_refused(head + " --captions " + path("lines.txt"), 1, {"none of them"});
  expect_refused(head + " --captions " + path("both.json") + " --references " + path("one.json"), 1, {"none for b"});
  expect_refused(head + " --captions " + path("both.json") + " --metrics refclipscore", 2, {"--references"});
  expect_refused("pairs --images " + path("images") + " --captions " + path("both.json"), 2, {"option clip"});
  const json one = scores(head + " --allow-missing --captions " + path("one.json"));
  EXPECT_EQ(one.at("metrics").at("CLIPScore").at("n"), 1);
  EXPECT_FALSE(one.at("metrics").at("CLIPScore").contains("floor"));  // there is no other image
  EXPECT_EQ(one.at("left_out"), (json{{"count", 1}, {"of", 2}, {"first", {"b"}}}));
}

TEST_F(ScoreImages, PairsByName) {
  for (int i = 0; i < 4; ++i) {
    picture(fmt::format("real/{}.png", i), i);
    picture(fmt::format("made/{}.jpg", i), i, 20, 16);
  }
  picture("made/0.jpg", 0);
  const json result = metrics("images --generated " + path("made") + " --real " + path("real") + " --per-sample " +
                              path("samples.jsonl") + " --clip " + (kGoldens / "clipscore").string());
  EXPECT_EQ(result.size(), 4u) << result;  // CLIP, CLIP-pooled, PSNR, SSIM
  EXPECT_EQ(result.at("SSIM").at("n"), 4);
  EXPECT_EQ(result.at("CLIP").at("variant"), "clip-image");
  EXPECT_GT(result.at("SSIM").at("value"), result.at("SSIM").at("floor").at("value"));
  EXPECT_EQ(lines("samples.jsonl").size(), 4u);
  const json same = metrics("images --generated " + path("real") + " --real " + path("real") + " --metrics psnr,ssim");
  EXPECT_EQ(same.at("PSNR").at("value"), 100);
  EXPECT_NEAR(same.at("SSIM").at("value"), 1, 1e-9);
}

TEST_F(ScoreImages, BadInput) {
  picture("real/a.png", 0);
  picture("real/b.png", 1);
  picture("made/a.png", 2);
  picture("made/c.png", 3);
  picture("twice/a.png", 0);
  picture("twice/a.jpg", 0);
  picture("other/x.png", 0);
  write("broken/a.png", "no picture");
  fs::create_directories(folder_ / "empty");
  const auto folders = [&](const std::string& made, const std::string& real) {
    return "images --generated " + path(made) + " --real " + path(real) + " --metrics psnr";
  };
  expect_refused(folders("made", "real"), 1, {"none for c", "allow_missing"});
  expect_refused(folders("other", "real"), 1, {"none of them", "x"});
  expect_refused(folders("twice", "real"), 1, {"one image of each name"});
  expect_refused(folders("empty", "real"), 1, {"empty"});
  expect_refused(folders("broken", "real") + " --allow-missing", 1, {"broken/a.png"});
  expect_refused(folders("made", "real") + ",fid", 2, {"--inception"});
  expect_refused(folders("made", "real") + ",dino", 2, {"option dino"});
  expect_refused(folders("made", "real") + ",lpips", 2, {"fid, is, kid, clip"});
  expect_refused("images --real " + path("real"), 2, {"--generated"});
  const json one = scores(folders("made", "real") + " --allow-missing");
  EXPECT_EQ(one.at("metrics").at("PSNR").at("n"), 1);
  EXPECT_EQ(one.at("left_out"), (json{{"count", 2}, {"of", 3}, {"first", {"c", "b"}}}));
}

// One Inception with made-up weights (95 MB) for all that is said about sets.
TEST_F(ScoreImages, SetsAgainstFoldersAndSavedStatistics) {
  const std::string weights = path("inception.safetensors");
  checkpoint::save_safetensors(models::hashed_inception(), weights);
  for (int i = 0; i < 4; ++i) {
    picture(fmt::format("real/{}.png", i), i, 24 + i, 20);
    picture(fmt::format("made/{}.png", 10 + i), 7 * i + 1, 24, 20 + i);  // no pairs are needed
  }
  const std::string head = "images --inception " + weights + " --generated " + path("made");
  const json sets =
      metrics(head + " --real " + path("real") + " --metrics fid,is,kid --save-statistics " + path("real.safetensors"));
  EXPECT_GT(sets.at("FID").at("value"), 0);
  EXPECT_TRUE(sets.at("FID").at("low").is_null());
  EXPECT_NE(sets.at("FID").at("warning").get<std::string>().find("biased upwards"), std::string::npos);
  EXPECT_EQ(sets.at("FID").at("variant"), "torch-fidelity");
  EXPECT_GE(sets.at("IS").at("value"), 1);
  EXPECT_NE(sets.at("KID").at("formula").get<std::string>().find("subsets of 4"), std::string::npos);
  const json saved = metrics(head + " --real " + path("real.safetensors"));
  EXPECT_NEAR(saved.at("FID").at("value"), sets.at("FID").at("value"), 1e-6);
  EXPECT_FALSE(saved.contains("KID"));
  const json none = metrics("images --inception " + weights + " --metrics fid --generated " + path("real") +
                            " --real " + path("real"));
  EXPECT_NEAR(none.at("FID").at("value"), 0, 1e-6);

  // FID drops alpha, as torch-fidelity does; what compares pair by pair lays it on white.
  const fs::path files = tests::source_dir() / "tests/goldens/image/files";
  for (const char* folder : {"clear", "dropped", "laid"}) fs::create_directories(folder_ / folder);
  for (const char* name : {"rgba.png", "grey-alpha.png"}) {
    fs::copy(files / name, folder_ / "clear" / name);
    image::save(image::load(files / name, image::Alpha::kDropped), folder_ / "dropped" / name);
    image::save(image::load(files / name, image::Alpha::kOnWhite), folder_ / "laid" / name);
  }
  const std::string of_clear = "images --inception " + weights + " --metrics fid,psnr --generated " + path("clear");
  const json dropped = metrics(of_clear + " --real " + path("dropped")),
             laid = metrics(of_clear + " --real " + path("laid"));
  EXPECT_NEAR(dropped.at("FID").at("value"), 0, 1e-6);
  EXPECT_LT(dropped.at("PSNR").at("value"), 50);
  EXPECT_GT(laid.at("FID").at("value"), 1e-3);
  EXPECT_EQ(laid.at("PSNR").at("value"), 100);

  const std::string statistics = " --real " + path("real.safetensors");
  expect_refused(head + statistics + " --metrics kid", 2, {"folder of images"});
  expect_refused(head + statistics + " --metrics psnr", 2, {"folder of images"});
  expect_refused(head + statistics + " --inception-mode clean-fid", 1, {"clean-fid"});
  fs::create_directories(folder_ / "one");
  fs::copy(folder_ / "made/10.png", folder_ / "one/10.png");
  expect_refused(
      "images --inception " + weights + " --metrics fid --generated " + path("one") + " --real " + path("real"), 1,
      {"at least 2 images"});
}

}  // namespace
}  // namespace readback
