// `readback dataset` as scripts call it.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "program.h"
#include "tests/source_dir.h"

namespace readback {
namespace {

namespace fs = std::filesystem;

class DatasetVerb : public Cli {
 protected:
  std::string described(const std::string& spec) const {
    const Outcome result = run("dataset describe " + spec);
    EXPECT_EQ(result.status, 0) << result.err;
    return result.out;
  }
};

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST_F(DatasetVerb, WhatIsExportedIsReadAgainWhole) {
  export_scenes(3);
  const std::string out = described(path("scenes"));
  EXPECT_TRUE(contains(out, "jsonl") && contains(out, "3 samples") && contains(out, "test-00000  test-00000.png"))
      << out;
  const std::string scenes = described("emoji-scenes --limit 3");
  EXPECT_EQ(out.substr(out.find("test-00000")), scenes.substr(scenes.find("test-00000")));
  ASSERT_EQ(run("dataset export " + path("scenes") + " --output " + path("again")).status, 0);
  EXPECT_EQ(read_file(path("again/captions.jsonl")), read_file(path("scenes/captions.jsonl")));
  EXPECT_EQ(read_file(path("again/test-00002.png")), read_file(path("scenes/test-00002.png")));
  EXPECT_TRUE(contains(read_file(path("scenes/captions.jsonl")), "\"truth\":\"{"));
}

TEST_F(DatasetVerb, PicturesThatDifferInTheirEndingsStayTwo) {
  fs::create_directory(path("photos"));
  const fs::path files = tests::source_dir() / "tests/goldens/image/files";
  fs::copy_file(files / "444.jpg", path("photos/a.jpg"));
  fs::copy_file(files / "rgb.png", path("photos/a.png"));
  ASSERT_EQ(run("dataset export " + path("photos") + " --output " + path("exported")).status, 0);
  EXPECT_TRUE(fs::exists(path("exported/a.png")) && fs::exists(path("exported/a.png.png")));
}

TEST_F(DatasetVerb, ChecksAndSaysWhere) {
  export_scenes(3);
  const Outcome sound = run("dataset check " + path("scenes"));
  EXPECT_EQ(sound.status, 0) << sound.err;
  EXPECT_TRUE(contains(sound.out, "3 samples, 3 pictures, 15 captions")) << sound.out;
  fs::remove(path("scenes/test-00001.png"));
  write_file(path("scenes/test-00002.png"), "no picture");
  const Outcome damaged = run("dataset check " + path("scenes") + " --format json");
  EXPECT_EQ(damaged.status, 1);
  EXPECT_TRUE(contains(damaged.err, "expected a sound data set, got 2 errors")) << damaged.err;
  const auto report = nlohmann::json::parse(damaged.out);
  EXPECT_EQ(report["errors"]["missing-picture"]["count"], 1);
  EXPECT_TRUE(contains(report["errors"]["missing-picture"]["examples"][0], "captions.jsonl:2"));
  EXPECT_TRUE(contains(report["errors"]["unreadable-picture"]["examples"][0], "test-00002.png"));
  EXPECT_TRUE(contains(run("dataset check " + path("scenes")).out, "error missing-picture: 1\n    "));
}

TEST_F(DatasetVerb, ListsItsLayoutsAndTakesPartsOfThem) {
  const Outcome list = run("dataset layouts");
  EXPECT_EQ(list.status, 0);
  for (const char* name : {"karpathy", "webdataset", "nocaps"}) EXPECT_TRUE(contains(list.out, name));
  const std::string part = described("emoji-scenes --shuffle 5 --shard 2/10 --limit 4");
  EXPECT_TRUE(contains(part, "4 of 1,000 scenes")) << part;
  EXPECT_EQ(part, described("emoji-scenes --shuffle 5 --shard 2/10 --limit 4"));
  EXPECT_EQ(run("dataset describe emoji-scenes --shard 11/10").status, 2);
}

TEST_F(DatasetVerb, TheSameFilesAreScored) {
  SKIP_WITHOUT_SHARED_DATA("cases");
  const fs::path cases = tests::shared_data("cases/layouts");
  for (const char* name : {"captions.txt", "flickr.token.txt"}) {
    const Outcome result = run("score captions --metrics bleu --format json --predictions " +
                               (cases / "pred.json").string() + " --references " + (cases / name).string());
    ASSERT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(nlohmann::json::parse(result.out)["metrics"]["BLEU-1"]["n"], 2) << name;
  }
  write_file(path("pred.json"), R"([{"image_id": 391895, "caption": "a man"}])");
  std::string first;
  for (const char* name : {"dataset_coco.json", "coco_karpathy_test.json", "coco_karpathy_test_gt.json"}) {
    const Outcome result = run("score captions --metrics bleu --format json --predictions " + path("pred.json") +
                               " --references " + (cases / name).string());
    ASSERT_EQ(result.status, 0) << name << result.err;
    EXPECT_EQ(nlohmann::json::parse(result.out)["metrics"]["BLEU-1"]["n"], 1) << name;
  }
}

}  // namespace
}  // namespace readback
