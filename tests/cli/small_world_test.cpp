// The small world's Flamingo and DALL-E, as they are shipped.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "program.h"
#include "readback/base/files.h"
#include "readback/base/lines.h"
#include "readback/image/codec.h"
#include "readback/roundtrip/store.h"

namespace readback {
namespace {

using SmallWorld = Cli;

constexpr const char* kBoth = "--captioner emoji-scenes/flamingo --generator emoji-scenes/dalle ";

TEST_F(SmallWorld, SingleObjectsAreRight) {
  const Outcome outcome = run(std::string("score scenes --limit 24 ") + kBoth + "--output " + path("scores"));
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  for (const char* model : {"captioner", "generator"}) {
    const std::string lines = read_file(path("scores") + "/" + model + ".jsonl");
    int singles = 0;
    for (const std::string_view line : lines_of(lines)) {
      const nlohmann::json row = nlohmann::json::parse(line);
      if (row["scenes"] != "single") continue;
      ++singles;
      EXPECT_TRUE(row["all"].get<bool>()) << line;
    }
    EXPECT_GE(singles, 5) << model;
  }
}

// Terse examples make terse captions.
TEST_F(SmallWorld, ExamplesSayHowToPhrase) {
  export_scenes(4);
  constexpr size_t kTerse = 4;  // the last of a scene's phrasings
  std::string shots;
  int scene = 0;
  const std::string lines = read_file(path("scenes/captions.jsonl"));
  for (const std::string_view line : lines_of(lines)) {
    if (line.empty() || scene++ == 0) continue;
    const nlohmann::json row = nlohmann::json::parse(line);
    shots += nlohmann::json{{"image", row["image"]}, {"caption", row["captions"][kTerse]}}.dump() + "\n";
  }
  write_file(path("scenes/terse.jsonl"), shots);
  const std::string caption = "caption --captioner emoji-scenes/flamingo " + path("scenes/test-00000.png");
  const Outcome freely = run(caption), tersely = run(caption + " --shots " + path("scenes/terse.jsonl"));
  ASSERT_EQ(freely.status, 0) << freely.err;
  ASSERT_EQ(tersely.status, 0) << tersely.err;
  EXPECT_NE(freely.out.find("background"), std::string::npos) << freely.out;
  EXPECT_EQ(tersely.out.find("background"), std::string::npos) << tersely.out;
}

TEST_F(SmallWorld, TheDallEDrawsPicturesAnew) {
  export_scenes(1);
  const Outcome one = run("generate --generator emoji-scenes/dalle --num-images 2 --format jsonl --picture " +
                          path("scenes/test-00000.png") + " --output " + path("anew"));
  ASSERT_EQ(one.status, 0) << one.err;
  EXPECT_NE(one.out.find("\"picture\""), std::string::npos);
  for (const char* file : {"anew/00000-000.png", "anew/00000-001.png"}) {
    EXPECT_EQ(image::load(path(file), image::Alpha::kOnWhite).width, 32);
  }
  const Outcome run_with = run(std::string("run emoji-scenes --limit 2 --num-candidates 1 --metrics oracle-image ") +
                               kBoth + "--ceiling emoji-scenes/dalle --output " + path("run"));
  ASSERT_EQ(run_with.status, 0) << run_with.err;
  EXPECT_EQ(roundtrip::Store::open(path("run")).ceilings("oracle-image").size(), 2u);

  const Outcome words_only = run("generate --picture " + path("scenes/test-00000.png") + " --output " + path("no"));
  EXPECT_EQ(words_only.status, 2);
  EXPECT_NE(words_only.err.find("image_encoder"), std::string::npos) << words_only.err;
}

}  // namespace
}  // namespace readback
