#include "readback/data/oracle.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <ctime>

#include "readback/base/error.h"
#include "readback/base/random.h"

namespace readback::data {
namespace {

int object(const std::string& name) {
  const auto& names = object_names();
  return static_cast<int>(std::find(names.begin(), names.end(), name) - names.begin());
}

int background(const std::string& name) {
  const auto& names = background_names();
  return static_cast<int>(std::find(names.begin(), names.end(), name) - names.begin());
}

Scene pair(const std::string& first, Relation relation, const std::string& second, const std::string& color) {
  Scene scene;
  scene.first = object(first);
  scene.second = object(second);
  scene.relation = relation;
  scene.background = background(color);
  return scene;
}

Scene single(const std::string& name, const std::string& color) {
  Scene scene;
  scene.first = object(name);
  scene.background = background(color);
  return scene;
}

image::Image add_noise(image::Image picture, double deviation, uint64_t index) {
  Random random(1, Purpose::kTest, "noise", index);
  for (uint8_t& value : picture.pixels) {
    value = static_cast<uint8_t>(std::clamp(std::lround(value + deviation * random.normal()), 0L, 255L));
  }
  return picture;
}

// Gaussian, with the border's pixels repeated outside.
image::Image blur(const image::Image& picture, double deviation) {
  const int64_t size = picture.width, reach = static_cast<int64_t>(std::ceil(3 * deviation));
  const auto pass = [&](const std::vector<double>& from, int64_t dx, int64_t dy) {
    std::vector<double> to(from.size());
    for (int64_t y = 0; y < size; ++y) {
      for (int64_t x = 0; x < size; ++x) {
        double total = 0;
        for (int64_t k = -reach; k <= reach; ++k) {
          const double weight = std::exp(-static_cast<double>(k * k) / (2 * deviation * deviation));
          const int64_t u = std::clamp<int64_t>(x + k * dx, 0, size - 1),
                        v = std::clamp<int64_t>(y + k * dy, 0, size - 1);
          for (int c = 0; c < 3; ++c) to[(y * size + x) * 3 + c] += weight * from[(v * size + u) * 3 + c];
          total += weight;
        }
        for (int c = 0; c < 3; ++c) to[(y * size + x) * 3 + c] /= total;
      }
    }
    return to;
  };
  const auto blurred = pass(pass({picture.pixels.begin(), picture.pixels.end()}, 1, 0), 0, 1);
  image::Image result(size, size);
  for (size_t i = 0; i < blurred.size(); ++i) result.pixels[i] = static_cast<uint8_t>(std::lround(blurred[i]));
  return result;
}

// Share of scenes that are read wholly right.
template <typename Change>
double share_read(Split split, int64_t count, int64_t size, Change change) {
  int right = 0;
  for (int64_t i = 0; i < count; ++i) {
    const Scene scene = make_scene(split, i);
    right += compare(scene, read_image(change(render(scene, size), static_cast<uint64_t>(i)))).all;
  }
  return static_cast<double>(right) / static_cast<double>(count);
}

#ifdef NDEBUG
constexpr int64_t kAll = 1000, kMany = 300;
#else
constexpr int64_t kAll = 100, kMany = 50;  // unoptimised builds take a hundred times as long
#endif

const auto kClean = [](image::Image picture, uint64_t) { return picture; };

TEST(Oracle, ReadsEveryCleanTestScene) {
  EXPECT_EQ(share_read(Split::kTest, kAll, 32, kClean), 1.0);
  EXPECT_EQ(share_read(Split::kTest, kAll, 64, kClean), 1.0);
  EXPECT_EQ(share_read(Split::kNovelPairs, kAll / 2, 32, kClean), 1.0);
}

TEST(Oracle, ReadsOtherSizes) {
  for (int64_t size : {48, 100, 256}) EXPECT_EQ(share_read(Split::kTest, 60, size, kClean), 1.0) << size;
  EXPECT_GE(share_read(Split::kTest, 60, 24, kClean), 0.95);
}

TEST(Oracle, ReadsBlurredAndNoisyScenes) {
  const auto blurred = [](double deviation) {
    return [deviation](const image::Image& picture, uint64_t) { return blur(picture, deviation); };
  };
  const auto noisy = [](double deviation) {
    return [deviation](const image::Image& picture, uint64_t i) { return add_noise(picture, deviation, i); };
  };
  EXPECT_EQ(share_read(Split::kTest, kMany, 32, blurred(1.0)), 1.0);
  EXPECT_GE(share_read(Split::kTest, kMany, 32, blurred(1.5)), 0.98);
  EXPECT_EQ(share_read(Split::kTest, kMany, 32, noisy(20)), 1.0);
  EXPECT_GE(share_read(Split::kTest, kMany, 32, noisy(40)), 0.98);
  EXPECT_GE(share_read(Split::kTest, kMany, 64,
                       [](const image::Image& picture, uint64_t i) { return add_noise(blur(picture, 2), 20, i); }),
            0.98);
}

TEST(Oracle, FindsPlacesExactly) {
  int exact = 0, objects = 0;
  for (int64_t i = 0; i < kMany; ++i) {
    const Scene scene = make_scene(Split::kTest, i);
    const Reading reading = read_image(render(scene));
    for (size_t k = 0; k < reading.objects.size(); ++k) {
      exact += reading.objects[k].placement == scene.placements[k] && reading.objects[k].score > 0.999;
      ++objects;
    }
  }
  EXPECT_GE(exact, 0.97 * objects);
}

TEST(Oracle, SeesNothingWhereNothingIs) {
  for (size_t color = 0; color < background_colors().size(); ++color) {
    image::Image blank(32, 32);
    for (size_t i = 0; i < blank.pixels.size(); ++i) blank.pixels[i] = background_colors()[color][i % 3];
    for (const image::Image& picture : {blank, add_noise(blank, 20, color)}) {
      const Reading reading = read_image(picture);
      EXPECT_TRUE(reading.objects.empty());
      EXPECT_EQ(reading.background, static_cast<int>(color));
    }
  }
  Random random(1, Purpose::kTest, "pixels");
  for (int i = 0; i < 50; ++i) {
    image::Image picture(32, 32);
    for (uint8_t& value : picture.pixels) value = static_cast<uint8_t>(random.below(256));
    EXPECT_TRUE(read_image(picture).objects.empty());
  }
  image::Image black(20, 10);
  EXPECT_EQ(read_image(black).background, -1);
  EXPECT_THROW(read_image(image::Image()), DataError);
}

TEST(Oracle, TakesUnderThreeMillisecondsAPicture) {
#ifndef NDEBUG
  GTEST_SKIP() << "timed in release builds only";
#endif
  read_image(render(make_scene(Split::kTest, 0)));  // fills the sprite cache
  double fastest = 1;
  for (int round = 0; round < 5; ++round) {
    const std::clock_t start = std::clock();  // processor time: other programs do not count
    for (int64_t i = 0; i < 20; ++i) read_image(render(make_scene(Split::kTest, i)));
    fastest = std::min(fastest, static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC / 20);
  }
  EXPECT_LT(fastest, 0.003);
}

TEST(Oracle, ParsesItsOwnCaptions) {
  for (Split split : {Split::kTest, Split::kNovelPairs}) {
    for (int64_t i = 0; i < 500; ++i) {
      const Scene scene = make_scene(split, i);
      const auto texts = captions(scene);
      for (size_t k : {0, 1}) {
        const Accuracy accuracy = compare(scene, parse_caption(texts[k]));
        EXPECT_TRUE(accuracy.all) << texts[k];
        EXPECT_EQ(accuracy.semantic, 1.0);
      }
      const Accuracy no_background = compare(scene, parse_caption(texts[2]));
      EXPECT_TRUE(no_background.objects && no_background.relation && !no_background.background);
      const Accuracy no_relation = compare(scene, parse_caption(texts[3]));
      EXPECT_TRUE(no_relation.objects && no_relation.background);
      EXPECT_EQ(no_relation.relation, scene.single());
      EXPECT_TRUE(compare(scene, parse_caption(texts[4])).objects);
    }
  }
}

TEST(Oracle, ParsesOtherWordings) {
  const Scene scene = pair("rocket", Relation::kLeftOf, "fox", "gray");
  for (const char* text : {"A picture of a rocket to the left of a fox, grey background.",
                           "on a gray background, a fox right of a shiny rocket", "rocket left of fox gray",
                           "to the right of a rocket is a fox, the background is gray",
                           "a rocket on the left and a fox on the right, gray", "left a rocket, right a fox, gray",
                           "a photo of a ROCKET on the left of the fox in front of a Gray  wall"}) {
    EXPECT_TRUE(compare(scene, parse_caption(text)).all) << text;
  }
  const Scene stacked = pair("fox", Relation::kAbove, "bus", "orange");
  for (const char* text : {"a fox over a bus on an orange background", "a bus under a fox on orange",
                           "orange background: a bus underneath the fox", "on top of a bus stands a fox on orange",
                           "a fox on top of a bus, orange"}) {
    EXPECT_TRUE(compare(stacked, parse_caption(text)).all) << text;
  }
}

TEST(Oracle, ContradictionsAndNonsenseAreNotNamed) {
  EXPECT_EQ(parse_caption("a rocket to the left of the right of a fox").relation, Relation::kNone);
  EXPECT_EQ(parse_caption("a rocket above to the left of a fox").relation, Relation::kNone);
  EXPECT_EQ(parse_caption("a fox on a blue background on a pink background").background, -1);
  EXPECT_EQ(parse_caption("a blue fox on a pink background").background, background("pink"));
  EXPECT_EQ(parse_caption("a rocket left of nothing").relation, Relation::kNone);
  for (const char* text : {"", "   ", "\xFF\xFE\x80", "colorless green-ish ideas", "foxes rockets"}) {
    EXPECT_TRUE(parse_caption(text).objects.empty()) << text;
  }
}

TEST(Oracle, SemanticScoreIsF1OfContentItems) {
  const Scene truth = pair("rocket", Relation::kLeftOf, "fox", "blue");  // four items
  const auto score = [&](const char* text) { return compare(truth, parse_caption(text)).semantic; };
  EXPECT_DOUBLE_EQ(score("a rocket to the left of a fox on a blue background"), 1);
  EXPECT_DOUBLE_EQ(score("a fox to the left of a rocket on a blue background"), 2.0 * 3 / (4 + 4));
  EXPECT_DOUBLE_EQ(score("a rocket to the left of a bus on a blue background"), 2.0 * 3 / (4 + 4));
  EXPECT_DOUBLE_EQ(score("a bus to the left of a crab on a blue background"), 2.0 * 1 / (4 + 4));
  EXPECT_DOUBLE_EQ(score("a rocket to the left of a fox on a pink background"), 2.0 * 3 / (4 + 4));
  EXPECT_DOUBLE_EQ(score("a rocket and a fox"), 2.0 * 2 / (4 + 2));
  EXPECT_DOUBLE_EQ(score("a rocket on a blue background"), 2.0 * 2 / (4 + 2));
  EXPECT_DOUBLE_EQ(score("a rocket, a rocket, a fox"), 2.0 * 2 / (4 + 3));
  EXPECT_DOUBLE_EQ(score(""), 0);
  const Scene alone = single("rocket", "blue");  // two items
  EXPECT_DOUBLE_EQ(compare(alone, parse_caption("a rocket above a fox on blue")).semantic, 2.0 * 2 / (2 + 4));
  EXPECT_DOUBLE_EQ(compare(alone, parse_caption("a fox on blue")).semantic, 2.0 * 1 / (2 + 2));
}

TEST(Oracle, ComparesPartByPart) {
  const Scene truth = pair("rocket", Relation::kLeftOf, "fox", "blue");
  const auto check = [&](const char* text) { return compare(truth, parse_caption(text)); };
  EXPECT_FALSE(check("a fox to the left of a rocket").relation);
  EXPECT_TRUE(check("a fox to the left of a rocket").objects);
  EXPECT_FALSE(check("a rocket above a fox").relation);
  EXPECT_TRUE(check("a rocket to the left of a bus").relation);
  EXPECT_FALSE(check("a bus to the left of a crab").relation);
  EXPECT_FALSE(check("a rocket and a fox and a bus").objects);
  EXPECT_FALSE(check("a rocket and a rocket").objects);
  EXPECT_FALSE(compare(single("rocket", "blue"), parse_caption("a rocket above a fox on blue")).relation);
}

}  // namespace
}  // namespace readback::data
