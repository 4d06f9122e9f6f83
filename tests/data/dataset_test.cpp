#include "readback/data/dataset.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/data/emoji_scenes.h"
#include "readback/data/ids.h"
#include "readback/image/codec.h"
#include "tests/source_dir.h"

namespace readback::data {
namespace {

namespace fs = std::filesystem;

class DatasetTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("readback_data_" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  void picture(const std::string& name, int64_t size = 8) { image::save(image::Image(size, size), folder_ / name); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  // The message of the E that opening throws.
  template <typename E>
  std::string message(const std::string& spec, const DatasetOptions& options = {}) {
    try {
      open_dataset(spec, options);
    } catch (const E& error) {
      return error.what();
    }
    ADD_FAILURE() << spec << " was opened";
    return "";
  }

  fs::path folder_;
};

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST_F(DatasetTest, EmojiScenesHaveReferencesTruthAndPictures) {
  const auto data = open_dataset("emoji-scenes", {.split = "test", .limit = 200, .image_size = 64});
  EXPECT_EQ(data->size(), 200);
  EXPECT_EQ(data->description(), "emoji-scenes, test split, 200 of 1,000 scenes");
  const Sample sample = data->sample(42);
  const Scene scene = make_scene(Split::kTest, 42);
  EXPECT_EQ(sample.id, "test-00042");
  EXPECT_EQ(sample.image_name, "test-00042.png");
  EXPECT_EQ(sample.references, captions(scene));
  EXPECT_EQ(scene_from_json(sample.truth), scene);
  EXPECT_EQ(data->load_image(42), render(scene, 64));
  EXPECT_EQ(open_dataset("emoji-scenes", {.split = "novel-pairs"})->description(),
            "emoji-scenes, novel-pairs split, 500 scenes");
}

TEST_F(DatasetTest, DigestFollowsWhatTheSamplesAre) {
  const DatasetOptions base{.limit = 20};
  const std::string digest = open_dataset("emoji-scenes", base)->digest();
  EXPECT_EQ(digest.size(), 16u);
  EXPECT_EQ(open_dataset("emoji-scenes", base)->digest(), digest);
  std::set<std::string> others = {digest};
  for (const DatasetOptions& options :
       {DatasetOptions{.limit = 21}, DatasetOptions{.limit = 20, .seed = 1},
        DatasetOptions{.limit = 20, .image_size = 64}, DatasetOptions{.split = "validation", .limit = 20}}) {
    EXPECT_TRUE(others.insert(open_dataset("emoji-scenes", options)->digest()).second);
  }
}

TEST_F(DatasetTest, BadOptionsAreUsageErrors) {
  EXPECT_TRUE(contains(message<UsageError>("emoji-scenes", {.split = "tset"}), "novel-pairs"));
  EXPECT_TRUE(contains(message<UsageError>("emoji-scenes", {.limit = -1}), "limit"));
  EXPECT_TRUE(contains(message<UsageError>("emoji-scenes", {.image_size = 4}), "8 to 1024"));
  EXPECT_TRUE(contains(message<UsageError>("emojiscenes"), "emoji-scenes, a folder"));
  EXPECT_TRUE(contains(message<UsageError>("coco:only.json"), "coco:ANNOTATIONS.json:IMAGES"));
}

TEST_F(DatasetTest, TextsAreLinesWithoutImages) {
  write_file(folder_ / "texts.txt", "a red fox\n\n  a blue fox \r\nlast");
  const auto data = open_dataset("texts:" + path("texts.txt"), {.first = 1});
  ASSERT_EQ(data->size(), 2);
  EXPECT_EQ(data->sample(0).id, "line-000003");
  EXPECT_EQ(data->sample(0).references, std::vector<std::string>{"a blue fox"});
  EXPECT_FALSE(data->sample(0).has_image());
  EXPECT_THROW(data->load_image(0), DataError);
  EXPECT_TRUE(contains(data->description(), "2 of 3 texts"));
  write_file(folder_ / "empty.txt", "\n\n");
  EXPECT_TRUE(contains(message<DataError>("texts:" + path("empty.txt")), "one a line"));
  EXPECT_TRUE(contains(message<DataError>("texts:" + path("nothing.txt")), "nothing.txt"));
  write_file(folder_ / "latin.txt", "caf\xe9\n");
  EXPECT_TRUE(contains(message<DataError>("texts:" + path("latin.txt")), "UTF-8"));
}

TEST_F(DatasetTest, SamplesMayBePassedOver) {
  const auto all = open_dataset("emoji-scenes", {.split = "test"});
  const auto some = open_dataset("emoji-scenes", {.split = "test", .first = 40, .limit = 3});
  ASSERT_EQ(some->size(), 3);
  EXPECT_EQ(some->sample(2).id, "test-00042");
  EXPECT_EQ(some->load_image(2), all->load_image(42));
  EXPECT_EQ(open_dataset("emoji-scenes", {.split = "test", .first = 990})->size(), 10);
  EXPECT_TRUE(contains(message<UsageError>("emoji-scenes", {.split = "test", .first = 1000}), "first_sample"));
  for (const char* name : {"a.png", "b.png", "c.png"}) picture(name);
  const auto folder = open_dataset(folder_.string(), {.first = 1, .limit = 1});
  ASSERT_EQ(folder->size(), 1);
  EXPECT_EQ(folder->sample(0).id, "b.png");
}

TEST_F(DatasetTest, FolderIsSortedAndReadsCaptionsBesideImages) {
  picture("b.png", 9);
  picture("a.JPG");
  picture("c.webp.png");
  write_file(path("b.txt"),
             "\xEF\xBB\xBF"
             "a caf\xC3\xA9 \r\n\r\n  two\n");
  write_file(path("notes.txt"), "no image");
  write_file(path(".hidden.png"), "");
  fs::create_directory(path("folder.png"));
  const auto data = open_dataset(folder_.string(), {});
  ASSERT_EQ(data->size(), 3);
  EXPECT_EQ(data->sample(0).id, "a.JPG");
  EXPECT_TRUE(data->sample(0).references.empty());
  EXPECT_EQ(data->sample(1).image_name, "b.png");
  EXPECT_EQ(data->sample(1).references, (std::vector<std::string>{"a caf\xC3\xA9", "two"}));
  EXPECT_EQ(data->sample(1).truth, "");
  EXPECT_EQ(data->load_image(1).width, 9);
  EXPECT_TRUE(contains(data->description(), ", 3 images"));
  const auto first = open_dataset(folder_.string(), {.limit = 1});
  EXPECT_EQ(first->size(), 1);
  EXPECT_TRUE(contains(first->description(), ", 1 of 3 images"));
}

TEST_F(DatasetTest, CorruptImageFailsOnlyWhenLoaded) {
  picture("good.png");
  write_file(path("bad.png"), "not a picture");
  const auto data = open_dataset(folder_.string(), {});
  ASSERT_EQ(data->size(), 2);
  EXPECT_THROW(data->load_image(0), DataError);
  EXPECT_EQ(data->load_image(1).width, 8);
}

TEST_F(DatasetTest, BadFoldersAreDataErrors) {
  EXPECT_TRUE(contains(message<DataError>(folder_.string()), "without any"));
  picture("a.png");
  EXPECT_TRUE(contains(message<DataError>(path("a.png")), "a folder of images, got a file"));
  write_file(path("a.txt"), "\xFF caption");
  EXPECT_TRUE(contains(message<DataError>(folder_.string()), "UTF-8"));
}

TEST_F(DatasetTest, CocoKeepsTheFilesOrderAndAllCaptions) {
  picture("2.png", 9);
  write_file(path("c.json"), R"({"images": [{"id": 7, "file_name": "2.png"}, {"id": 3, "file_name": "1.png"}],
    "annotations": [{"image_id": 3, "caption": "x"}, {"image_id": 7, "caption": "y"}, {"image_id": 99, "caption": "q"},
                    {"image_id": 7, "caption": "z"}]})");
  const auto data = open_dataset("coco:" + path("c.json") + ":" + folder_.string(), {});
  ASSERT_EQ(data->size(), 2);
  EXPECT_EQ(data->sample(0).id, "2");
  EXPECT_EQ(data->sample(0).image_name, "2.png");
  EXPECT_EQ(data->sample(0).references, (std::vector<std::string>{"y", "z"}));
  EXPECT_EQ(data->sample(1).references, (std::vector<std::string>{"x"}));
  EXPECT_EQ(data->load_image(0).width, 9);
  EXPECT_THROW(data->load_image(1), DataError);  // listed but missing
}

TEST(Ids, NumbersAndTheirTextsAreOne) {
  for (const char* text : {"7", "\"7\"", "7.0", "7e0"}) EXPECT_EQ(id_of(nlohmann::json::parse(text), "x"), "7") << text;
  EXPECT_EQ(id_of(nlohmann::json(-3), "x"), "-3");
  EXPECT_EQ(id_of(nlohmann::json("07"), "x"), "07");
  for (const char* text : {"7.5", "1e300", "true", "null", "[7]", "{}"}) {
    EXPECT_THROW(id_of(nlohmann::json::parse(text), "x"), DataError) << text;
  }
  EXPECT_EQ(image_key("000000000790.jpg"), "790");
  EXPECT_EQ(image_key("790"), "790");
  EXPECT_EQ(image_key("000.TIFF"), "0");
  EXPECT_EQ(image_key("val2014/COCO_val2014_000000391895.jpg"), "391895");
  EXPECT_EQ(image_key("COCO_train2014_fox.jpg"), "COCO_train2014_fox");
  EXPECT_EQ(image_key("fox.v2.gif"), "fox.v2");
  EXPECT_EQ(image_key("fox.v2"), "fox.v2");
}

// 7 and "7" are one id, whichever list says which.
TEST_F(DatasetTest, CocoIdsMayBeNumbersHereAndStringsThere) {
  picture("a.png");
  picture("b.png");
  const auto open = [&](const std::string& first, const std::string& second) {
    write_file(path("c.json"), R"({"images": [{"id": )" + first + R"(, "file_name": "a.png"}, {"id": "x", "file_name":
      "b.png"}], "annotations": [{"image_id": )" +
                                   second + R"(, "caption": "one"}, {"image_id": "x", "caption": "two"}]})");
    return open_dataset("coco:" + path("c.json") + ":" + folder_.string(), {});
  };
  for (const auto& [first, second] : {std::pair{"7", "7"}, {"7", "\"7\""}, {"\"7\"", "7"}, {"7", "7.0"}}) {
    const auto data = open(first, second);
    EXPECT_EQ(data->sample(0).references, (std::vector<std::string>{"one"})) << first << " " << second;
    EXPECT_EQ(data->sample(1).references, (std::vector<std::string>{"two"}));
    EXPECT_EQ(data->remarks(), "");
  }
  EXPECT_THROW(open("7.5", "7.5"), DataError);
  write_file(path("c.json"), R"({"images": [{"id": 7, "file_name": "a.png"}, {"id": "7", "file_name": "b.png"}],
    "annotations": []})");
  EXPECT_TRUE(contains(message<DataError>("coco:" + path("c.json") + ":" + folder_.string()), "a second b.png"));
}

TEST_F(DatasetTest, CountsWhatIsLeftOut) {
  for (const char* name : {"a.png", "b.png", "c.png"}) picture(name);
  const std::string spec = "coco:" + path("c.json") + ":" + folder_.string();
  const std::string images = R"({"images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"},
    {"id": 3, "file_name": "c.png"}], "annotations": [)";
  write_file(path("c.json"), images + R"({"image_id": 1, "caption": "x"}, {"image_id": 8, "caption": "y"},
    {"image_id": 9, "caption": "z"}]})");
  const auto data = open_dataset(spec, {});
  EXPECT_EQ(data->remarks(), "2 captions of images that are not listed left out, 2 images without captions");
  EXPECT_TRUE(contains(data->description(), "3 images; " + data->remarks()));
  // Nothing but captions of other images is a mistake.
  write_file(path("c.json"), images + R"({"image_id": 8, "caption": "y"}]})");
  EXPECT_TRUE(contains(message<DataError>(spec), "captions of other ids only: 8"));

  write_file(path("b.txt"), "a caption");
  EXPECT_EQ(open_dataset(folder_.string(), {})->remarks(), "2 images without captions");
  fs::remove(path("b.txt"));
  EXPECT_EQ(open_dataset(folder_.string(), {})->remarks(), "");  // pictures alone
}

TEST_F(DatasetTest, ReadsEveryKindThatItTakesForAPicture) {
  const fs::path files = tests::source_dir() / "tests/goldens/image/files";
  for (const char* name : {"444.jpg", "rgb.png", "lossy.webp", "rgb.bmp", "palette.gif", "raw.tiff"}) {
    fs::copy_file(files / name, folder_ / name);
  }
  fs::copy_file(files / "lzw.tiff", folder_ / "lzw.TIF");
  const auto data = open_dataset(folder_.string(), {});
  ASSERT_EQ(data->size(), 7);
  for (int64_t i = 0; i < data->size(); ++i) EXPECT_EQ(data->load_image(i).width, 19) << data->sample(i).id;
}

TEST_F(DatasetTest, RefusesKindsThatItCannotReadBeforeWorkBegins) {
  picture("a.png");
  const std::string avif(
      "\0\0\0\x1C"
      "ftypavif",
      12);
  write_file(path("photo.avif"), avif);
  EXPECT_TRUE(contains(message<DataError>(folder_.string()), "photo.avif: expected a picture: JPEG")) << "by name";
  fs::remove(path("photo.avif"));
  write_file(path("._photo.heic"), avif);  // what macOS leaves beside files is no picture, and neither is a text
  write_file(path("notes.md"), avif);
  EXPECT_EQ(open_dataset(folder_.string(), {})->size(), 1);
  write_file(path("photo.jpg"), avif);
  EXPECT_TRUE(contains(message<DataError>(folder_.string()), "an AVIF picture. Convert it")) << "by content";
  write_file(path("c.json"), R"({"images": [{"id": 1, "file_name": "photo.jpg"}], "annotations": []})");
  EXPECT_TRUE(contains(message<DataError>("coco:" + path("c.json") + ":" + folder_.string()), "photo.jpg"));
}

TEST_F(DatasetTest, TransparentPicturesAreLaidOnWhite) {
  const fs::path files = tests::source_dir() / "tests/goldens/image/files";
  fs::copy_file(files / "rgba.png", folder_ / "rgba.png");
  const auto data = open_dataset(folder_.string(), {});
  EXPECT_EQ(data->load_image(0), image::load(files / "rgba.png", image::Alpha::kOnWhite));
  EXPECT_NE(data->load_image(0), image::load(files / "rgba.png", image::Alpha::kDropped));
}

TEST_F(DatasetTest, CasesOfRealPeople) {
  const fs::path cases = tests::source_dir() / "../shared/data/cases";
  if (!fs::exists(cases)) GTEST_SKIP() << "no ../shared/data/cases";
  const std::string folder = (cases / "coco-ids").string();
  const auto mixed = open_dataset("coco:" + folder + "/mixed.json:" + folder, {});
  const auto ok = open_dataset("coco:" + folder + "/ok.json:" + folder, {});
  for (int64_t i = 0; i < 2; ++i) {
    EXPECT_EQ(mixed->sample(i).references.size(), 1u);
    EXPECT_EQ(mixed->sample(i).references, ok->sample(i).references);
  }
  const auto formats = open_dataset((cases / "formats").string(), {});
  ASSERT_EQ(formats->size(), 3);
  for (int64_t i = 0; i < 3; ++i) {
    const image::Image picture = formats->load_image(i);
    EXPECT_EQ(picture.width, 64);
    EXPECT_EQ(picture.height, 48);
  }
  EXPECT_EQ(formats->load_image(0), formats->load_image(2));  // BMP and TIFF lose nothing
}

TEST_F(DatasetTest, BadCocoFilesAreDataErrors) {
  const std::string spec = "coco:" + path("c.json") + ":" + folder_.string();
  EXPECT_TRUE(contains(message<DataError>(spec), "No such file"));
  for (const char* text :
       {"", "{", "[]", "{}", R"({"images": []})", R"({"images": [], "annotations": []})",
        R"({"images": [{"id": 1}], "annotations": []})",
        R"({"images": [{"id": 1, "file_name": 5}], "annotations": []})",
        R"({"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1}]})",
        R"({"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "caption": 3}]})",
        R"({"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b/a.png"}], "annotations": []})",
        R"({"images": 3, "annotations": 4})"}) {
    write_file(path("c.json"), text);
    EXPECT_TRUE(contains(message<DataError>(spec), "c.json")) << text;
  }
  write_file(path("c.json"), R"({"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": []})");
  EXPECT_TRUE(contains(message<DataError>("coco:" + path("c.json") + ":" + path("none")), "a folder of images"));
}

TEST_F(DatasetTest, CocoMini) {
  SKIP_WITHOUT_SHARED_DATA("coco-mini");
  const fs::path mini = tests::shared_data("coco-mini");
  const auto data = open_dataset("coco:" + (mini / "captions.json").string() + ":" + (mini / "images").string(), {});
  ASSERT_EQ(data->size(), 76);
  for (int64_t i = 0; i < data->size(); ++i) EXPECT_EQ(data->sample(i).references.size(), 5u);
  EXPECT_EQ(data->sample(0).id, "000000000790");
  EXPECT_EQ(data->sample(0).references[0], "a family is sitting down at a table to have cake");
  const image::Image photo = data->load_image(0);
  EXPECT_EQ(photo.width, 640);
  EXPECT_EQ(photo.height, 422);
}

}  // namespace
}  // namespace readback::data
