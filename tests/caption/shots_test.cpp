#include "readback/caption/shots.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/caption/open.h"
#include "readback/image/codec.h"
#include "tests/source_dir.h"

namespace readback::caption {
namespace {

namespace fs = std::filesystem;

struct Folder {
  fs::path path = fs::temp_directory_path() / ("readback_shots_" + std::to_string(::getpid()));
  Folder() {
    fs::create_directories(path / "pictures");
    fs::copy_file(tests::source_dir() / "tests/goldens/caption/images/1.png", path / "pictures/a.png",
                  fs::copy_options::overwrite_existing);
  }
  ~Folder() { fs::remove_all(path); }
  std::string write(const std::string& text) const {
    write_file(path / "shots.jsonl", text);
    return (path / "shots.jsonl").string();
  }
};

TEST(Shots, ArePicturesWithTheirCaptionsBehindThem) {
  const Folder folder;
  const auto examples = read_shots(folder.write("\n{\"image\": \"pictures/a.png\", \"caption\": \" a cat \"}\n\n"));
  ASSERT_EQ(examples.size(), 2u);
  EXPECT_GT(std::get<image::Image>(examples[0]).width, 0);
  EXPECT_EQ(std::get<std::string>(examples[1]), "a cat");
  auto other = examples;
  std::get<image::Image>(other[0]).pixels[0] ^= 1;
  EXPECT_NE(digest(other), digest(examples));
  other = examples;
  std::get<std::string>(other[1]) += "s";
  EXPECT_NE(digest(other), digest(examples));
  EXPECT_TRUE(read_shots("").empty());
}

TEST(Shots, ErrorsNameTheLine) {
  const Folder folder;
  const auto error = [&](const std::string& text) {
    try {
      read_shots(folder.write(text));
      return std::string("none");
    } catch (const DataError& error) {
      return std::string(error.what());
    }
  };
  const std::string good = "{\"image\": \"pictures/a.png\", \"caption\": \"a cat\"}\n";
  for (const char* bad :
       {"[]", "{\"image\": \"pictures/a.png\"}", "{\"image\": 3, \"caption\": \"a\"}", "not json",
        "{\"image\": \"pictures/a.png\", \"caption\": \" \"}", "{\"image\": \"pictures/b.png\", \"caption\": \"a\"}"}) {
    EXPECT_NE(error(good + bad).find("shots.jsonl:2"), std::string::npos) << bad << ": " << error(good + bad);
  }
  EXPECT_NE(error("\n").find("an example a line"), std::string::npos);
}

TEST(Shots, OnlyFewShotCaptionersTakeThem) {
  const std::vector<Part> examples = {image::Image(2, 2), std::string("a cat")};
  const fs::path goldens = tests::source_dir() / "tests/goldens";
  const auto blip = open((goldens / "caption/blip").string(), {});
  EXPECT_THROW(expect_examples_taken(examples, *blip), UsageError);
  EXPECT_NO_THROW(expect_examples_taken({}, *blip));
  EXPECT_NO_THROW(expect_examples_taken(examples, *open((goldens / "multimodal/idefics").string(), {})));
}

}  // namespace
}  // namespace readback::caption
