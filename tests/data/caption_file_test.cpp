#include "readback/data/caption_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "readback/base/error.h"
#include "readback/base/files.h"

namespace readback::data {
namespace {

namespace fs = std::filesystem;
using Captions = std::vector<std::vector<std::string>>;
using Ids = std::vector<std::string>;

class CaptionFileTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("readback_captions_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& text) {
    write_file(folder_ / name, text);
    return (folder_ / name).string();
  }
  void expect(const std::string& name, const std::string& text, const Ids& ids, const Captions& captions) {
    const CaptionFile file = read_caption_file(write(name, text));
    EXPECT_EQ(file.ids, ids) << text;
    EXPECT_EQ(file.captions, captions) << text;
  }
  std::string message(const std::string& name, const std::string& text) {
    try {
      read_caption_file(write(name, text));
    } catch (const DataError& error) {
      return error.what();
    }
    ADD_FAILURE() << text << " was read";
    return "";
  }

  fs::path folder_;
};

TEST_F(CaptionFileTest, ReadsDomains) {
  const std::string nocaps = write("nocaps.json", R"({"images": [{"id": 7, "domain": "near-domain"}, {"id": 8},
    {"id": 9, "domain": "in-domain"}], "annotations": [{"image_id": 9, "caption": "a"}, {"image_id": 8, "caption": "b"},
    {"image_id": "7", "caption": "c"}]})");
  const CaptionFile file = read_caption_file(nocaps);
  EXPECT_EQ(file.ids, (Ids{"9", "8", "7"}));
  EXPECT_EQ(file.domains, (Ids{"in-domain", "", "near-domain"}));
  const CaptionFile mine = read_caption_file(write("mine.json", R"({"7": "x", "9": "y"})"));
  EXPECT_TRUE(mine.domains.empty());
  EXPECT_EQ(match_captions(mine, file, /*allow_missing=*/true).domains, (Ids{"in-domain", "near-domain"}));
  EXPECT_TRUE(match_captions(mine, mine, false).domains.empty());
  const std::string lines = write("domains.jsonl", "{\"id\": 1, \"caption\": \"a\", \"domain\": \"far\"}\n");
  EXPECT_EQ(read_caption_file(lines).domains, Ids{"far"});
  const std::string table = write("domains.csv", "image,caption,domain\nx.jpg,a,far\ny.jpg,b,near\n");
  EXPECT_EQ(read_caption_file(table).domains, (Ids{"far", "near"}));
  const std::vector<std::string> both = {nocaps, write("more.json", R"({"9": "d"})")};
  EXPECT_EQ(read_caption_files(both).domains, (Ids{"in-domain", "", "near-domain"}));
}

TEST_F(CaptionFileTest, ReadsEveryFormat) {
  const Captions two = {{"a cat", "one cat"}, {"a dog"}};
  expect("results.json", R"([{"image_id": 7, "caption": "a cat"}, {"image_id": "b", "caption": "a dog"}])", {"7", "b"},
         {{"a cat"}, {"a dog"}});
  expect("annotations.json",
         R"({"images": [], "annotations": [{"id": 0, "image_id": 7, "caption": "a cat"},
             {"id": 1, "image_id": "b", "caption": "a dog"}, {"id": 2, "image_id": "7", "caption": "one cat"}]})",
         {"7", "b"}, two);
  expect("by_id.json", R"({"7": ["a cat", "one cat"], "b": "a dog"})", {"7", "b"}, two);
  expect("lines.jsonl",
         "{\"image\": \"x.jpg\", \"captions\": [{\"text\": \"a cat\"}, {\"text\": \"one cat\"}]}\n\n"
         "{\"id\": 3, \"references\": [\"a dog\"]}\n",
         {"x.jpg", "3"}, two);
  expect("one_line.jsonl", "{\"image_id\": 3, \"caption\": \"a dog\"}", {"3"}, {{"a dog"}});
  expect("lines.txt",
         "\xEF\xBB\xBF"
         "a cat\r\n\n{ not JSON\n",
         {"1", "2", "3"}, {{"a cat"}, {""}, {"{ not JSON"}});
}

TEST_F(CaptionFileTest, FilesOfWindowsReadTheSame) {
  expect("lines.txt",
         "\xEF\xBB\xBF"
         "a cat\r\n\r\na dog\r\n",
         {"1", "2", "3"}, {{"a cat"}, {""}, {"a dog"}});
  expect("lines.jsonl",
         "\xEF\xBB\xBF"
         "{\"id\": 1, \"caption\": \"a\"}\r\n\r\n{\"id\": 2.0, \"caption\": \"b\"}\r\n",
         {"1", "2"}, {{"a"}, {"b"}});
  EXPECT_NE(message("utf16.txt", std::string("\xFF\xFE"
                                             "a\0",
                                             4))
                .find("got UTF-16"),
            std::string::npos);
}

TEST_F(CaptionFileTest, SaysWhereAFileIsWrong) {
  EXPECT_NE(message("cut.json", R"([{"image_id": 7, "caption": "a c)").find("cut.json"), std::string::npos);
  EXPECT_NE(message("entry.json", R"([{"image_id": 7, "caption": "a"}, {"image_id": 8}])").find("entry 2"),
            std::string::npos);
  EXPECT_NE(message("number.json", R"({"7": 8})").find("\"7\""), std::string::npos);
  EXPECT_NE(message("list.json", R"({"7": []})").find("an empty list"), std::string::npos);
  EXPECT_NE(message("lines.jsonl", "{\"id\": 1, \"caption\": \"a\"}\n{\"id\": 1.5, \"caption\": \"a\"}\n").find(":2"),
            std::string::npos);
  EXPECT_NE(message("lines.jsonl", "{\"id\": 1, \"caption\": \"a\"}\n{\"id\": \n").find(":2"), std::string::npos);
  EXPECT_NE(message("latin1.txt", "a cat\na caf\xE9\n").find("latin1.txt:2: expected UTF-8"), std::string::npos);
  EXPECT_NE(message("empty.txt", "").find("at least one caption"), std::string::npos);
  EXPECT_NE(message("empty.json", "[]").find("at least one caption"), std::string::npos);
  EXPECT_THROW(read_caption_file(folder_ / "absent.json"), DataError);
}

TEST_F(CaptionFileTest, ReadsTheLayoutsOfDataSets) {
  expect("dataset_coco.json",
         R"({"images": [{"cocoid": 7, "filename": "a.jpg", "split": "test", "sentences": [{"raw": "a cat"}]},
             {"filename": "b.jpg", "split": "train", "sentences": [{"raw": "a dog"}, {"raw": "b"}]}]})",
         {"7", "b.jpg"}, {{"a cat"}, {"a dog", "b"}});
  expect("lavis.json", R"([{"image": "val2014/a.jpg", "caption": ["a cat", "one"]}])", {"val2014/a.jpg"},
         {{"a cat", "one"}});
  expect("captions.txt", "image,caption\na.jpg,A child .\na.jpg,\"x , y\"\nb.jpg,\n", {"a.jpg", "b.jpg"},
         {{"A child .", "x , y"}, {""}});  // an empty prediction counts
  expect("t.token.txt", "a.jpg#0\tx\na.jpg#1\ty\n", {"a.jpg"}, {{"x", "y"}});
  expect("results.csv", "image_name| comment_number| comment\na.jpg| 0| x\na.jpg| 1| y\n", {"a.jpg"}, {{"x", "y"}});
}

// What looks like names and captions is a table or an error, and never lines of text.
TEST_F(CaptionFileTest, ColumnsAreNoText) {
  expect("pairs.txt", "a.jpg\tone\nb.jpg\ttwo\n", {"a.jpg", "b.jpg"}, {{"one"}, {"two"}});
  expect("pairs.csv", "a.jpg,one\nb.jpg,\"two, three\"\n", {"a.jpg", "b.jpg"}, {{"one"}, {"two, three"}});
  EXPECT_NE(message("pairs.txt", "a.jpg,one, two\nb.jpg,three\n").find("pairs.txt:1: expected two columns"),
            std::string::npos);
  EXPECT_NE(message("named.csv", "first,second\na,b\n").find("named.csv:1: expected a header"), std::string::npos);
  EXPECT_NE(message("names.tsv", "image\tprompt\na.jpg\t\n").find("at least one caption"), std::string::npos);
  // Texts that only mention pictures or hold commas stay texts.
  expect("text.txt", "a cat, a dog\nsee a.jpg, below\n", {"1", "2"}, {{"a cat, a dog"}, {"see a.jpg, below"}});
}

TEST_F(CaptionFileTest, FoldersAndSpecsAreDataSets) {
  fs::create_directories(folder_ / "photos");
  write("photos/a.png", "x");
  write("photos/b.png", "x");
  write("photos/a.txt", "one\ntwo\n");
  const CaptionFile file = read_caption_file(folder_ / "photos");
  EXPECT_EQ(file.ids, Ids{"a.png"});  // b.png has no caption, which is none that is empty
  EXPECT_EQ(file.captions, (Captions{{"one", "two"}}));
  write("rows.data", "id,caption\n7,x\n");
  EXPECT_EQ(read_caption_file("table:" + (folder_ / "rows.data").string()).ids, Ids{"7"});
}

TEST_F(CaptionFileTest, IdsThatNameTheSamePictureMatch) {
  const CaptionFile results{"c", {"391895", "60623"}, {{"a"}, {"b"}}};
  const CaptionFile lavis{
      "r", {"val2014/COCO_val2014_000000060623.jpg", "val2014/COCO_val2014_000000391895.jpg"}, {{"two"}, {"one"}}};
  const auto matched = match_captions(results, lavis, false);
  EXPECT_EQ(matched.candidates, (Ids{"b", "a"}));
  EXPECT_EQ(matched.references, (Captions{{"two"}, {"one"}}));
  // Not where it would make two ids one, and not where some ids are the same as they are.
  EXPECT_THROW(match_captions({"c", {"7.png", "07.jpg"}, {{"a"}, {"b"}}}, {"r", {"7"}, {{"x"}}}, true), DataError);
  EXPECT_EQ(match_captions({"c", {"7", "8.png"}, {{"a"}, {"b"}}}, {"r", {"7", "8"}, {{"x"}, {"y"}}}, true).ids,
            Ids{"7"});
}

TEST_F(CaptionFileTest, FilesOfOneReferenceALineGoTogether) {
  const std::vector<std::string> paths = {write("1.txt", "a\nb\n"), write("2.txt", "c\nd\n")};
  EXPECT_EQ(read_caption_files(paths).captions, (Captions{{"a", "c"}, {"b", "d"}}));
}

TEST_F(CaptionFileTest, MatchesByIdInTheReferencesOrder) {
  const CaptionFile references{"r", {"1", "2", "3"}, {{"one"}, {"two", "zwei"}, {"three"}}};
  const auto matched = match_captions({"c", {"2", "1", "3"}, {{"b"}, {"a"}, {"c"}}}, references, false);
  EXPECT_EQ(matched.ids, (Ids{"1", "2", "3"}));
  EXPECT_EQ(matched.candidates, (Ids{"a", "b", "c"}));
  EXPECT_EQ(matched.references, references.captions);

  const CaptionFile partial{"c", {"9", "2"}, {{"z"}, {"b"}}};
  EXPECT_THROW(match_captions(partial, references, false), DataError);
  EXPECT_THROW(match_captions({"c", {"2"}, {{"b"}}}, references, false), DataError);
  const auto part = match_captions(partial, references, true);
  EXPECT_EQ(part.ids, (Ids{"2"}));
  EXPECT_EQ(part.left_out, (Ids{"1", "3", "9"}));
  EXPECT_TRUE(matched.left_out.empty());
  EXPECT_THROW(match_captions({"c", {"9"}, {{"z"}}}, references, true), DataError);
  EXPECT_THROW(match_captions({"c", {"1"}, {{"a", "b"}}}, references, true), DataError);
}

}  // namespace
}  // namespace readback::data
