// Inputs as real people have them, through the program. What is in ../shared/data/cases runs where that is present;
// each of its cases has a small equivalent here.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "program.h"
#include "readback/base/files.h"
#include "readback/checkpoint/safetensors.h"
#include "tests/source_dir.h"

namespace readback {
namespace {

namespace fs = std::filesystem;

const fs::path kGoldens = tests::source_dir() / "tests/goldens";
const fs::path kCases = tests::source_dir() / "../shared/data/cases";

class RealInputs : public Cli {
 protected:
  std::string captions_of(const std::string& images) const {
    const Outcome result = run("caption --num-beams 3 --dtype float32 " + images);
    EXPECT_EQ(result.status, 0) << result.err;
    return result.out;
  }

  int64_t pictures_in(const std::string& folder) const {
    return std::distance(fs::directory_iterator(path(folder)), fs::directory_iterator());
  }

  // The two files give the same pictures, `count` of them.
  void expect_the_same_pictures(const std::string& windows, const std::string& plain, int64_t count) const {
    const std::string head = "generate --num-inference-steps 2 --dtype float32 --prompts ";
    ASSERT_EQ(run(head + windows + " --output " + path("windows")).status, 0);
    ASSERT_EQ(run(head + plain + " --output " + path("plain")).status, 0);
    EXPECT_EQ(pictures_in("windows"), count);
    EXPECT_EQ(pictures_in("plain"), count);
    for (const auto& entry : fs::directory_iterator(path("plain"))) {
      EXPECT_EQ(read_file(entry.path()), read_file(fs::path(path("windows")) / entry.path().filename()));
    }
  }
};

TEST_F(RealInputs, TransparentPicturesAreEmbeddedAsTransformersDoes) {
  const nlohmann::json golden = read_json(kGoldens / "score/transparency.json");
  std::string images;
  for (const std::string name : golden.at("files")) {
    const bool scene = name == "transparent-scene.png";
    images += " " + (kGoldens / (scene ? "score" : "image/files") / name).string();
  }
  const Outcome result = run("embed --dtype float32 --output " + path("embeds.safetensors") + " --images" + images);
  ASSERT_EQ(result.status, 0) << result.err;
  const at::Tensor ours = checkpoint::load_safetensors(path("embeds.safetensors")).at("image_embeds");
  const at::Tensor theirs =
      checkpoint::load_safetensors(kGoldens / "score/transparency.safetensors").at("image_embeds");
  ASSERT_EQ(ours.sizes(), theirs.sizes());
  EXPECT_LT((ours - theirs).abs().max().item<double>(), 1e-4);
}

TEST_F(RealInputs, TransparentPicturesAreCaptionedAndScoredAsTransformersDoes) {
  const nlohmann::json golden = read_json(kGoldens / "score/transparency.json");
  const std::string caption = golden.at("caption");
  EXPECT_EQ(caption, "a bus above a fox on a white background");
  const fs::path scene = kGoldens / "score/transparent-scene.png";
  EXPECT_EQ(captions_of(scene.string()), scene.string() + "\t" + caption + "\n");

  fs::create_directory(path("images"));
  fs::copy_file(scene, path("images/scene.png"));
  write_file(path("captions.json"), nlohmann::json{{"scene", caption}}.dump());
  const Outcome result = run("score pairs --clip emoji-scenes/clip --dtype float32 --format json --images " +
                             path("images") + " --captions " + path("captions.json"));
  ASSERT_EQ(result.status, 0) << result.err;
  const nlohmann::json score = nlohmann::json::parse(result.out);
  EXPECT_NEAR(score.at("metrics").at("CLIPScore").at("value"), golden.at("clipscore"), 1e-3) << result.out;
}

TEST_F(RealInputs, PromptFilesOfWindows) {
  write_file(path("crlf.txt"),
             "\xEF\xBB\xBF"
             "a bus on a red background\r\n\r\na fox on a blue background\r\n");
  write_file(path("lf.txt"), "a bus on a red background\na fox on a blue background");
  expect_the_same_pictures(path("crlf.txt"), path("lf.txt"), 2);
  write_file(path("utf16.txt"), std::string("\xFF\xFE"
                                            "a\0",
                                            4));
  const Outcome result = run("generate --prompts " + path("utf16.txt") + " --output " + path("none"));
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("utf16.txt: expected text in UTF-8, got UTF-16"), std::string::npos) << result.err;
}

TEST_F(RealInputs, RecipesOfWindows) {
  write_file(path("recipe.toml"),
             "\xEF\xBB\xBF"
             "num-beams = 3\r\nformat = \"jsonl\"\r\n\r\ndtype = \"float32\"\r\n");
  const Outcome result =
      run("caption --recipe " + path("recipe.toml") + " " + (kGoldens / "score/transparent-scene.png").string());
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out.front(), '{');
}

TEST_F(RealInputs, BmpTiffAndGifAreCaptioned) {
  std::string images;
  for (const char* name : {"rgb.bmp", "raw.tiff", "palette.gif"}) {
    images += (kGoldens / "image/files" / name).string() + " ";
  }
  const std::string captions = captions_of(images);
  EXPECT_EQ(std::count(captions.begin(), captions.end(), '\n'), 3);
}

TEST_F(RealInputs, ARunOfAnUnreadableKindIsRefusedBeforeItStarts) {
  fs::create_directory(path("photos"));
  write_file(path("photos/a.jpg"), std::string("\0\0\0\x1C"
                                               "ftypheic",
                                               12));
  const Outcome result = run("run " + path("photos") + " --output " + path("run"));
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.err.find("a.jpg: expected a picture: JPEG"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("got a HEIF picture. Convert it"), std::string::npos) << result.err;
  EXPECT_FALSE(fs::exists(path("run")));
}

TEST_F(RealInputs, WhatADataSetLeavesOutIsSaid) {
  export_scenes(1);
  write_file(path("c.json"), R"({"images": [{"id": 1, "file_name": "test-00000.png"}], "annotations":
    [{"image_id": "1", "caption": "a fox"}, {"image_id": 2, "caption": "a bus"}]})");
  const Outcome result = run("dataset describe coco:" + path("c.json") + ":" + path("scenes"));
  ASSERT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.out.find("1 caption of images that are not listed left out"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("a fox"), std::string::npos) << result.out;
}

TEST_F(RealInputs, SharedCases) {
  if (!fs::exists(kCases)) GTEST_SKIP() << "no ../shared/data/cases";
  const std::string scene = (kCases / "transparency/transparent_bg.png").string();
  EXPECT_EQ(captions_of(scene), scene + "\ta bus above a fox on a white background\n");
  expect_the_same_pictures((kCases / "prompts/prompts_crlf.txt").string(), (kCases / "prompts/prompts_lf.txt").string(),
                           2);
  const std::string formats = (kCases / "formats").string();
  const std::string captions = captions_of(formats + "/a.bmp " + formats + "/a.gif " + formats + "/a.tiff");
  EXPECT_EQ(std::count(captions.begin(), captions.end(), '\n'), 3);
  const std::string ids = (kCases / "coco-ids").string();
  const Outcome mixed = run("dataset describe coco:" + ids + "/mixed.json:" + ids);
  const Outcome ok = run("dataset describe coco:" + ids + "/ok.json:" + ids);
  EXPECT_EQ(mixed.status, 0);
  EXPECT_EQ(mixed.out, ok.out);
  EXPECT_NE(mixed.out.find("a bus above a fox"), std::string::npos) << mixed.out;
}

}  // namespace
}  // namespace readback
