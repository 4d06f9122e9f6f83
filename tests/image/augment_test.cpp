#include "readback/image/augment.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "readback/base/error.h"
#include "support.h"

namespace readback::image {
namespace {

const std::map<std::string, Operation> kNames = {
    {"Identity", Operation::kIdentity},     {"AutoContrast", Operation::kAutoContrast},
    {"Equalize", Operation::kEqualize},     {"Brightness", Operation::kBrightness},
    {"Sharpness", Operation::kSharpness},   {"ShearX", Operation::kShearX},
    {"ShearY", Operation::kShearY},         {"TranslateX", Operation::kTranslateX},
    {"TranslateY", Operation::kTranslateY}, {"Rotate", Operation::kRotate}};

Image squeezed_noise(int64_t width, int64_t height, uint32_t seed, int low, int high) {
  Image image = testing::noise(width, height, seed);
  for (uint8_t& value : image.pixels) value = static_cast<uint8_t>(low + value * (high - low) / 255);
  return image;
}

TEST(Augment, OperationsGiveTheReferencesBytes) {
  const nlohmann::json cases = read_json(testing::golden("augmentation.json")).at("operations");
  ASSERT_GE(cases.size(), 600U);
  for (const auto& entry : cases) {
    const Image image = squeezed_noise(entry[0], entry[1], entry[2], entry[3], entry[4]);
    const Image result = apply(image, kNames.at(entry[5]), entry[6]);
    EXPECT_EQ(testing::digest(result), entry[7]) << entry;
  }
}

TEST(Augment, CropsGiveTorchvisionsBytes) {
  const nlohmann::json cases = read_json(testing::golden("augmentation.json")).at("crops");
  ASSERT_EQ(cases.size(), 5U);
  for (const auto& entry : cases) {
    const Image cropped = crop(testing::noise(entry[0], entry[1], entry[2]), {entry[3], entry[4], entry[5], entry[6]});
    EXPECT_EQ(testing::digest(resize(cropped, entry[7], entry[8], Filter::kBicubic)), entry[9]) << entry;
  }
}

TEST(Augment, PicturesWithoutRoomAreCroppedInTheMiddle) {
  const nlohmann::json golden = read_json(testing::golden("augmentation.json"));
  for (const auto& entry : golden.at("never_fit")) {
    Random random(1, Purpose::kTest, "crop");
    EXPECT_EQ(draw_crop(entry[0], entry[1], random), (Box{entry[2], entry[3], entry[4], entry[5]})) << entry;
  }
}

TEST(Augment, CropsHaveTheWantedAreasAndRatios) {
  double least = 1, most = 0, narrowest = 10, widest = 0;
  for (uint64_t i = 0; i < 2000; ++i) {
    Random random(1, Purpose::kTest, "crop", i);
    const Box box = draw_crop(400, 300, random);
    ASSERT_TRUE(box.left >= 0 && box.top >= 0 && box.left + box.width <= 400 && box.top + box.height <= 300);
    const auto width = static_cast<double>(box.width), height = static_cast<double>(box.height);
    least = std::min(least, width * height / (400 * 300));
    most = std::max(most, width * height / (400 * 300));
    narrowest = std::min(narrowest, width / height);
    widest = std::max(widest, width / height);
  }
  EXPECT_NEAR(least, 0.5, 0.01);
  EXPECT_NEAR(most, 0.99, 0.02);
  EXPECT_NEAR(narrowest, 0.75, 0.01);
  EXPECT_NEAR(widest, 4.0 / 3, 0.015);
}

TEST(Augment, DependsOnTheStreamAlone) {
  const Image image = testing::noise(40, 30, 3);
  std::set<std::string> digests;
  for (uint64_t i = 0; i < 20; ++i) {
    Random first(7, Purpose::kTest, "row", i), second(7, Purpose::kTest, "row", i);
    const Image result = augment(image, 24, 20, first);
    EXPECT_EQ(result.width, 24);
    EXPECT_EQ(result.height, 20);
    EXPECT_EQ(result, augment(image, 24, 20, second));
    digests.insert(testing::digest(result));
  }
  EXPECT_EQ(digests.size(), 20U);
}

TEST(Augment, HalfOfThePicturesAreMirrored) {
  Image image(8, 8);
  for (int64_t y = 0; y < 8; ++y) std::fill(image.at(4, y), image.at(4, y) + 12, uint8_t{255});  // bright on the right
  int mirrored = 0;
  for (uint64_t i = 0; i < 400; ++i) {
    Random random(1, Purpose::kTest, "flip", i);
    const Image result = augment(image, 8, 8, random, {.smallest_area = 1, .operations = 0});
    mirrored += result.at(0, 3)[0] > result.at(7, 3)[0];
  }
  EXPECT_NEAR(mirrored, 200, 40);
  Random random(1, Purpose::kTest, "never");
  EXPECT_EQ(augment(image, 8, 8, random, {.smallest_area = 1, .flip = 0, .operations = 0}).at(7, 3)[0], 255);
}

TEST(Augment, RefusesBoxesOutside) {
  const Image image = testing::noise(6, 5, 1);
  EXPECT_THROW(crop(image, {0, 0, 7, 5}), DataError);
  EXPECT_THROW(crop(image, {-1, 0, 2, 2}), DataError);
  EXPECT_THROW(crop(image, {0, 4, 2, 2}), DataError);
  EXPECT_THROW(crop(image, {0, 0, 0, 2}), DataError);
  Random random(1, Purpose::kTest, "empty");
  EXPECT_THROW(augment(Image(), 4, 4, random), DataError);
}

}  // namespace
}  // namespace readback::image
