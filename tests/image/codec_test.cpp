#include "readback/image/codec.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>

#include "readback/base/error.h"
#include "support.h"

namespace readback::image {
namespace {

namespace fs = std::filesystem;
using testing::golden;

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (fs::temp_directory_path() / "readback-image-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TemporaryFolder() { fs::remove_all(path_); }
  fs::path operator/(const std::string& name) const { return path_ / name; }

 private:
  fs::path path_;
};

void expect_data_error(const std::string& bytes, const std::string& part) {
  try {
    decode(bytes, "holiday.img", Alpha::kDropped);
    ADD_FAILURE() << "decoded; expected an error with '" << part << "'";
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("holiday.img"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

// The largest difference from what the generator wrote in hexadecimal.
int largest_difference(const Image& image, const std::string& hex) {
  const std::string truth = testing::from_hex(hex);
  if (image.pixels.size() != truth.size()) return 256;
  int largest = 0;
  for (size_t i = 0; i < truth.size(); ++i) {
    largest = std::max(largest, std::abs(image.pixels[i] - static_cast<uint8_t>(truth[i])));
  }
  return largest;
}

// Of YCbCr without compression Pillow rounds otherwise than libtiff.
int tolerance(const std::string& name) { return name == "ycbcr.tiff" ? 1 : 0; }

TEST(Codec, GivesPillowsPixelsForEveryKindOfFile) {
  const nlohmann::json table = read_json(golden("files.json"));
  ASSERT_GE(table.size(), 130U);
  std::map<std::string, int> kinds;
  for (const auto& [name, expected] : table.items()) {
    const Image image = load(golden("files") / name, Alpha::kDropped);
    ASSERT_EQ(image.width, expected.at("width")) << name;
    ASSERT_EQ(image.height, expected.at("height")) << name;
    EXPECT_LE(largest_difference(image, expected.at("pixels")), tolerance(name)) << name;
    ++kinds[fs::path(name).extension()];
  }
  EXPECT_EQ(kinds.size(), 6U);
}

// What transformers' processors make of an opened file.
TEST(Codec, LaysTransparentPicturesOnWhiteAsTransformersDoes) {
  const nlohmann::json table = read_json(golden("files.json"));
  std::map<std::string, int> transparent;
  for (const auto& [name, expected] : table.items()) {
    const bool differs = expected.contains("on_white");
    const Image image = load(golden("files") / name, Alpha::kOnWhite);
    EXPECT_LE(largest_difference(image, expected.at(differs ? "on_white" : "pixels")), tolerance(name)) << name;
    transparent[fs::path(name).extension()] += differs;
  }
  EXPECT_GE(transparent[".png"], 8);
  EXPECT_GE(transparent[".webp"], 3);
  EXPECT_GE(transparent[".gif"], 2);
  EXPECT_GE(transparent[".tiff"], 3);
  EXPECT_GE(transparent[".bmp"], 1);
}

TEST(Codec, GivesPillowsPixelsForPhotos) {
  SKIP_WITHOUT_SHARED_DATA("coco-mini/images");
  const nlohmann::json table = read_json(golden("coco-mini.json"));
  int64_t count = 0;
  for (const auto& [name, expected] : table.items()) {
    const Image image = load(testing::photos() / name, Alpha::kDropped);
    EXPECT_EQ(testing::digest(image), expected.at("pixels")) << name;
    if (count++ % 6 != 0) continue;
    for (const auto& [filter, resized] : expected.at("resized").items()) {
      EXPECT_EQ(testing::digest(resize(image, 384, 384, testing::filter_of(filter))), resized) << name << " " << filter;
    }
  }
}

TEST(Codec, RefusesTruncatedFilesOfEveryKind) {
  for (const auto& entry : fs::directory_iterator(golden("files"))) {
    const std::string bytes = read_file(entry.path());
    for (const double part : {0.02, 0.1, 0.3, 0.5, 0.7}) {
      const auto size = static_cast<size_t>(static_cast<double>(bytes.size()) * part);
      // What follows the pixels may be missing: the second frame of an animation, a second page, or text.
      if (part > 0.3 && entry.path().extension() == ".png") continue;
      const std::string stem = entry.path().stem();
      if (part > 0.1 && (stem == "pages" || (stem == "animated" && entry.path().extension() == ".gif"))) continue;
      EXPECT_THROW(decode(bytes.substr(0, size), "cut", Alpha::kDropped), DataError)
          << entry.path() << " cut to " << size;
    }
  }
}

TEST(Codec, SurvivesCorruptBytes) {
  uint32_t state = 1;
  const auto random = [&state](size_t below) { return (state = state * 1664525U + 1013904223U) % 65521U % below; };
  int64_t refused = 0;
  for (const auto& entry : fs::directory_iterator(golden("files"))) {
    const std::string bytes = read_file(entry.path());
    for (int round = 0; round < 20; ++round) {
      std::string damaged = bytes;
      for (int i = 0; i < 3; ++i) damaged[random(damaged.size())] = static_cast<char>(random(256));
      if (damaged.size() > 32 && entry.path().extension() != ".webp") std::copy_n(bytes.begin(), 24, damaged.begin());
      try {
        const Image image = decode(damaged, "damaged", Alpha::kDropped);
        EXPECT_EQ(image.pixels.size(), static_cast<size_t>(image.width * image.height * 3));
      } catch (const DataError&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 500);
}

TEST(Codec, SaysWhatIsWrong) {
  expect_data_error("", "an empty file");
  expect_data_error("another kind of file", "a picture: JPEG, PNG, WebP, BMP, GIF or TIFF");
  expect_data_error("GIF89a, of another time", "a whole GIF file");
  expect_data_error(std::string("\0\0\0\x20"
                                "ftypavif",
                                12),
                    "an AVIF picture. Convert it");
  expect_data_error(read_file(golden("files/420.jpg")).substr(0, 500), "a whole JPEG file");
  expect_data_error(read_file(golden("files/rgb.png")).substr(0, 100), "the file is truncated");
  expect_data_error(read_file(golden("files/lossy.webp")).substr(0, 100), "a whole WebP file");
  EXPECT_THROW(load("/nowhere/at/all.png", Alpha::kDropped), DataError);
}

TEST(Codec, RefusesDecompressionBombs) {
  std::string jpeg = read_file(golden("files/420.jpg"));
  const size_t frame = jpeg.find("\xFF\xC0");
  jpeg.replace(frame + 5, 4, "\xFF\x00\xFF\x00", 4);  // 65,280 × 65,280
  expect_data_error(jpeg, "65280 × 65280");
  // IHDR of 20,000 × 20,000 with its check sum.
  std::string png = read_file(golden("files/rgb.png"));
  png.replace(16, 17, std::string("\x00\x00\x4e\x20\x00\x00\x4e\x20\x08\x02\x00\x00\x00\x6c\x12\xd1\x6e", 17));
  expect_data_error(png, "at most 178956970 pixels");
  std::string webp = read_file(golden("files/lossless-alpha.webp"));
  const size_t header = webp.find("VP8L") + 9;
  webp.replace(header, 4, "\xFF\xFF\xFF\x0F", 4);  // 16,384 × 16,384
  expect_data_error(webp, "16384 × 16384");
}

TEST(Codec, WritesPngWithoutLoss) {
  const Image image = testing::noise(37, 21, 3);
  EXPECT_EQ(decode(encode_png(image), "png", Alpha::kDropped), image);
  EXPECT_THROW(encode_png(Image()), DataError);
}

TEST(Codec, WritesJpegAsPillowDoes) {
  const nlohmann::json expected = read_json(golden("encoding.json"));
  const std::string bytes =
      encode_jpeg(testing::noise(expected.at("width"), expected.at("height"), expected.at("seed")));
  EXPECT_EQ(bytes, testing::from_hex(expected.at("jpeg")));
  const Image image = decode(bytes, "jpeg", Alpha::kDropped);
  EXPECT_EQ(std::string(image.pixels.begin(), image.pixels.end()), testing::from_hex(expected.at("decoded")));
  EXPECT_THROW(encode_jpeg(Image(65'501, 1)), DataError);
}

TEST(Codec, SavesByExtension) {
  const TemporaryFolder folder;
  const Image image = testing::noise(20, 10, 4);
  save(image, folder / "a.png");
  save(image, folder / "a.JPG");
  EXPECT_EQ(load(folder / "a.png", Alpha::kDropped), image);
  EXPECT_EQ(read_file(folder / "a.JPG"), encode_jpeg(image));
  EXPECT_THROW(save(image, folder / "a.gif"), UsageError);
}

}  // namespace
}  // namespace readback::image
