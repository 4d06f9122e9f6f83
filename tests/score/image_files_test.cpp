#include "readback/score/image/image_files.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>

#include "../models/hashed.h"
#include "readback/base/error.h"
#include "readback/image/codec.h"

namespace readback::score {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<std::string>;

class ImageFiles : public testing::Test {
 protected:
  ImageFiles() { fs::create_directories(folder_); }
  ~ImageFiles() override { fs::remove_all(folder_); }
  fs::path make(const std::string& folder, const Ids& names) const {
    fs::create_directories(folder_ / folder);
    for (const std::string& name : names) image::save(models::picture(8, 8, 1), folder_ / folder / name);
    return folder_ / folder;
  }
  std::string refused(const std::function<void()>& work) const {
    try {
      work();
    } catch (const DataError& error) {
      return error.what();
    }
    return "";
  }
  fs::path folder_ = fs::temp_directory_path() / ("readback-files-" + std::to_string(::getpid()));
};

TEST_F(ImageFiles, MatchByNameWhateverTheFormat) {
  const fs::path made = make("made", {"b.png", "a.jpg"}), real = make("real", {"a.png", "b.png"});
  const MatchedImages matched = match_images(made, real, false);
  EXPECT_EQ(matched.ids, (Ids{"a", "b"}));
  EXPECT_EQ(matched.generated[0].filename(), "a.jpg");
  EXPECT_EQ(matched.real[0].filename(), "a.png");
  make("real", {"c.png", "d.png"});
  const std::string message = refused([&] { match_images(made, real, false); });
  EXPECT_NE(message.find("none for c, d"), std::string::npos) << message;
  const MatchedImages part = match_images(made, real, true);
  EXPECT_EQ(part.ids, (Ids{"a", "b"}));
  EXPECT_EQ(part.left_out, (Ids{"c", "d"}));
  EXPECT_TRUE(matched.left_out.empty());
}

TEST_F(ImageFiles, CaptionsFindImagesByNameStemOrNumber) {
  const fs::path images = make("images", {"000000000790.jpg", "fox.v2.png", "0.png"});
  data::CaptionFile captions{"captions", {"fox.v2.png", "790", "0"}, {{"a fox"}, {"a dog", "a cat"}, {"zero"}}};
  CaptionedImages matched = match_captions(images, captions, {}, false);
  EXPECT_EQ(matched.ids, (Ids{"fox.v2", "000000000790", "0"}));
  EXPECT_EQ(matched.captions[1], (Ids{"a dog", "a cat"}));
  EXPECT_TRUE(matched.references[1].empty());
  EXPECT_FALSE(matched.by_line);
  const data::CaptionFile references{"references", {"000000000790", "unused"}, {{"two dogs"}, {"nobody"}}};
  const std::string message = refused([&] { match_captions(images, captions, references, false); });
  EXPECT_NE(message.find("none for fox.v2.png, 0"), std::string::npos) << message;
  matched = match_captions(images, captions, references, true);
  EXPECT_EQ(matched.ids, Ids{"000000000790"});
  EXPECT_EQ(matched.references[0], Ids{"two dogs"});
  EXPECT_EQ(matched.left_out, (Ids{"fox.v2.png", "0"}));
  captions.ids[2] = "1";
  EXPECT_EQ(match_captions(images, captions, {}, true).left_out,
            (Ids{"1", "0"}));  // a caption's id and an image's name
}

TEST_F(ImageFiles, ReferencesOfAllIdsOfAnImageCount) {
  const fs::path images = make("images", {"000000000790.jpg"});
  const data::CaptionFile captions{"captions", {"790"}, {{"a dog"}}};
  const data::CaptionFile references{"two files", {"790", "000000000790.jpg"}, {{"one"}, {"two", "three"}}};
  EXPECT_EQ(match_captions(images, captions, references, false).references[0], (Ids{"one", "two", "three"}));
}

TEST_F(ImageFiles, LinesGoWithImagesInOrderOnlyWhereNothingElseIsPossible) {
  const fs::path images = make("images", {"b.png", "a.png"});
  const data::CaptionFile lines{"lines", {"1", "2"}, {{"first"}, {"second"}}};
  const CaptionedImages matched = match_captions(images, lines, {}, false);
  EXPECT_TRUE(matched.by_line);
  EXPECT_EQ(matched.ids, (Ids{"a", "b"}));
  EXPECT_EQ(matched.captions[0], Ids{"first"});
  const data::CaptionFile more{"lines", {"1", "2", "3"}, {{"first"}, {"second"}, {"third"}}};
  EXPECT_NE(refused([&] { match_captions(images, more, {}, true); }), "");
  // Images with numbers for names: then lines are these numbers.
  const fs::path numbered = make("numbered", {"2.png", "1.png", "10.png"});
  EXPECT_FALSE(match_captions(numbered, more, {}, true).by_line);
}

TEST_F(ImageFiles, OneImageOfEachName) {
  EXPECT_NE(refused([&] { match_images(make("twice", {"a.png", "a.jpg"}), make("real", {"a.png"}), true); }), "");
  const data::CaptionFile captions{"captions", {"7"}, {{"seven"}}};
  EXPECT_NE(refused([&] { match_captions(make("numbers", {"7.png", "07.png"}), captions, {}, true); }), "");
}

TEST_F(ImageFiles, LoadEachFileOnce) {
  const fs::path folder = make("images", {"a.png", "b.png"});
  const fs::path paths[] = {folder / "a.png", folder / "b.png", folder / "a.png"};
  const auto images = load_images(paths);
  ASSERT_EQ(images.size(), 3u);
  EXPECT_EQ(images[0], images[2]);
  EXPECT_EQ(images[1]->width, 8);
  const fs::path missing[] = {folder / "a.png", folder / "none.png"};
  EXPECT_THROW(load_images(missing), DataError);
}

}  // namespace
}  // namespace readback::score
