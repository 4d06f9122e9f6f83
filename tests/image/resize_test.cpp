#include "readback/image/resize.h"

#include <gtest/gtest.h>

#include "readback/base/error.h"
#include "support.h"

namespace readback::image {
namespace {

TEST(Resize, GivesPillowsBytes) {
  const nlohmann::json cases = read_json(testing::golden("resizing.json"));
  ASSERT_GE(cases.size(), 150U);
  for (const auto& entry : cases) {
    const Image source = testing::noise(entry[0], entry[1], entry[2]);
    const Image resized = resize(source, entry[3], entry[4], testing::filter_of(entry[5]));
    EXPECT_EQ(resized.width, entry[3]);
    EXPECT_EQ(resized.height, entry[4]);
    EXPECT_EQ(testing::digest(resized), entry[6]) << entry;
  }
}

TEST(Resize, KeepsFlatColour) {
  Image flat(31, 17);
  std::fill(flat.pixels.begin(), flat.pixels.end(), uint8_t{201});
  for (const Filter filter : {Filter::kBilinear, Filter::kBicubic, Filter::kLanczos}) {
    for (const uint8_t value : resize(flat, 97, 5, filter).pixels) EXPECT_EQ(value, 201);
  }
}

TEST(Resize, RefusesImpossibleSizes) {
  const Image image = testing::noise(4, 3, 1);
  EXPECT_THROW(resize(Image(), 5, 5, Filter::kBicubic), DataError);
  EXPECT_THROW(resize(image, 0, 5, Filter::kBicubic), DataError);
  EXPECT_THROW(resize(image, 5, -1, Filter::kBicubic), DataError);
  EXPECT_THROW(resize(image, 100'000, 100'000, Filter::kBicubic), DataError);
}

}  // namespace
}  // namespace readback::image
