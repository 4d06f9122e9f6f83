#include "readback/data/emoji_scenes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <sstream>

#include "readback/base/error.h"
#include "readback/base/random.h"
#include "readback/data/oracle.h"

namespace readback::data {
namespace {

TEST(EmojiScenes, SameArgumentsGiveTheSameScene) {
  for (int64_t i = 0; i < 50; ++i) EXPECT_EQ(make_scene(Split::kTest, i, 7), make_scene(Split::kTest, i, 7));
  int equal = 0;
  for (int64_t i = 0; i < 50; ++i) equal += make_scene(Split::kTest, i, 7) == make_scene(Split::kTrain, i, 7);
  for (int64_t i = 0; i < 50; ++i) equal += make_scene(Split::kTest, i, 7) == make_scene(Split::kTest, i, 8);
  EXPECT_LE(equal, 1);
}

TEST(EmojiScenes, ObjectsAndBackgroundsAreUniformAndFortyPercentSingle) {
  const int64_t count = 24000;
  std::map<int, int> objects, backgrounds;
  int singles = 0, drawn = 0;
  for (int64_t i = 0; i < count; ++i) {
    const Scene scene = make_scene(Split::kTrain, i);
    singles += scene.single();
    ++objects[scene.first];
    ++backgrounds[scene.background];
    drawn += scene.single() ? 1 : 2;
    if (!scene.single()) ++objects[scene.second];
  }
  EXPECT_NEAR(singles, 0.4 * count, 5 * std::sqrt(0.24 * count));
  ASSERT_EQ(objects.size(), object_names().size());
  ASSERT_EQ(backgrounds.size(), background_names().size());
  for (const auto& [object, n] : objects) EXPECT_NEAR(n, drawn / 24.0, 5 * std::sqrt(drawn / 24.0)) << object;
  for (const auto& [color, n] : backgrounds) EXPECT_NEAR(n, count / 8.0, 5 * std::sqrt(count / 8.0)) << color;
}

TEST(EmojiScenes, NovelPairsOccurNowhereElse) {
  int novel = 0;
  for (int a = 0; a < 24; ++a) {
    int partners = 0;
    for (int b = 0; b < 24; ++b) {
      EXPECT_EQ(is_novel_pair(a, b), is_novel_pair(b, a));
      partners += is_novel_pair(a, b);
    }
    EXPECT_GE(partners, 2) << object_names()[a];
    EXPECT_LE(partners, 3) << object_names()[a];
    novel += partners;
  }
  EXPECT_EQ(novel / 2, 35);  // 13 % of 276
  for (Split split : {Split::kTrain, Split::kValidation, Split::kTest}) {
    for (int64_t i = 0; i < split_size(split); ++i) {
      const Scene scene = make_scene(split, i);
      ASSERT_FALSE(!scene.single() && is_novel_pair(scene.first, scene.second)) << split_name(split) << " " << i;
    }
  }
  for (int64_t i = 0; i < split_size(Split::kNovelPairs); ++i) {
    const Scene scene = make_scene(Split::kNovelPairs, i);
    ASSERT_FALSE(scene.single());
    ASSERT_TRUE(is_novel_pair(scene.first, scene.second));
  }
}

TEST(EmojiScenes, SpritesStayInsideAndApart) {
  for (int64_t i = 0; i < 3000; ++i) {
    const Scene scene = make_scene(Split::kTrain, i);
    const Placement &a = scene.placements[0], &b = scene.placements[1];
    for (int k = 0; k < (scene.single() ? 1 : 2); ++k) {
      const Placement& place = scene.placements[k];
      EXPECT_GE(std::min(place.x, place.y), 0);
      EXPECT_LE(std::max(place.x, place.y) + place.side, 32);
    }
    EXPECT_EQ(scene.single(), scene.relation == Relation::kNone);
    EXPECT_TRUE(scene.relation != Relation::kLeftOf || a.x + a.side <= b.x);
    EXPECT_TRUE(scene.relation != Relation::kAbove || a.y + a.side <= b.y);
  }
}

TEST(EmojiScenes, PicturesAreTheSameOnEveryMachine) {
  const auto digest = [](int64_t size) {
    std::string bytes;
    for (int64_t i = 0; i < 40; ++i) {
      const auto picture = render(make_scene(Split::kTest, i), size);
      EXPECT_EQ(picture.width, size);
      EXPECT_EQ(picture.pixels.size(), static_cast<size_t>(size * size * 3));
      bytes.append(picture.pixels.begin(), picture.pixels.end());
    }
    return fnv1a(bytes);
  };
  EXPECT_EQ(digest(32), 971496008255774695u);
  EXPECT_EQ(digest(64), 14269283710721417388u);
}

TEST(EmojiScenes, AnySizeFromEightTo1024) {
  const Scene scene = make_scene(Split::kTest, 0);
  for (int64_t size : {8, 17, 33, 100, 1024}) EXPECT_EQ(render(scene, size).height, size);
  EXPECT_THROW(render(scene, 7), UsageError);
  EXPECT_THROW(render(scene, 1025), UsageError);
}

TEST(EmojiScenes, OpaqueAndClearPixelsKeepTheirColors) {
  const int fox =
      static_cast<int>(std::find(object_names().begin(), object_names().end(), "fox") - object_names().begin());
  const auto alpha = sprite_alpha(fox, 64);
  const auto on_white = render_sprite(fox, 64, {255, 255, 255}), on_black = render_sprite(fox, 64, {0, 0, 0});
  int opaque = 0, clear = 0;
  for (int i = 0; i < 64 * 64; ++i) {
    for (int c = 0; c < 3; ++c) {
      const int difference = on_white.pixels[i * 3 + c] - on_black.pixels[i * 3 + c];
      EXPECT_NEAR(difference, 255 - alpha[i], 1);
    }
    opaque += alpha[i] == 255;
    clear += alpha[i] == 0;
  }
  EXPECT_GT(opaque, 1000);
  EXPECT_GT(clear, 500);
}

TEST(EmojiScenes, SmallSpritesAreMeansOfTheLargeOne) {
  for (int object = 0; object < 24; ++object) {
    const auto large = render_sprite(object, 64, {200, 100, 50}), small = render_sprite(object, 16, {200, 100, 50});
    for (int64_t i = 0; i < 16 * 16 * 3; ++i) {
      const int64_t x = i / 3 % 16, y = i / 48, c = i % 3;
      double sum = 0;
      for (int64_t k = 0; k < 16; ++k) sum += large.at(4 * x + k % 4, 4 * y + k / 4)[c];
      ASSERT_NEAR(small.pixels[static_cast<size_t>(i)], sum / 16, 1.0) << object_names()[object];
    }
  }
}

TEST(EmojiScenes, CaptionsOfSingles) {
  Scene scene;
  scene.first =
      static_cast<int>(std::find(object_names().begin(), object_names().end(), "umbrella") - object_names().begin());
  scene.background = 3;
  EXPECT_EQ(captions(scene),
            (std::vector<std::string>{"an umbrella on an orange background", "an orange background with an umbrella",
                                      "an umbrella", "an umbrella on orange", "umbrella"}));
}

TEST(EmojiScenes, CaptionsOfPairs) {
  Scene scene = scene_from_json(R"({"objects": ["rocket", "unicorn"], "relation": "left of", "background": "blue",
                                    "placements": [[1, 9, 14], [17, 8, 15]]})");
  EXPECT_EQ(captions(scene), (std::vector<std::string>{"a rocket to the left of a unicorn on a blue background",
                                                       "a unicorn to the right of a rocket with a blue background",
                                                       "a rocket to the left of a unicorn",
                                                       "a rocket and a unicorn on blue", "a rocket and a unicorn"}));
  scene.relation = Relation::kAbove;
  EXPECT_EQ(captions(scene)[0], "a rocket above a unicorn on a blue background");
  EXPECT_EQ(captions(scene)[1], "a unicorn below a rocket with a blue background");
}

TEST(EmojiScenes, NoisyCaptionsAreWrongPartlyWrongOrTerse) {
  constexpr int kCount = 6000;
  int wrong = 0, one_thing_wrong = 0, terse = 0;
  for (int64_t i = 0; i < kCount; ++i) {
    const Scene scene = make_scene(Split::kTest, i);
    Random random(1, Purpose::kTest, "noise", static_cast<uint64_t>(i)),
        same(1, Purpose::kTest, "noise", static_cast<uint64_t>(i));
    const std::string caption = noisy_caption(scene, random);
    EXPECT_EQ(caption, noisy_caption(scene, same));
    const Reading read = parse_caption(caption);
    int mistakes = read.background >= 0 && read.background != scene.background;
    for (const ReadObject& seen : read.objects) mistakes += seen.object != scene.first && seen.object != scene.second;
    const bool complete = caption.ends_with(" background") || caption.find("background with") != std::string::npos;
    const size_t objects = scene.single() ? 1 : 2;
    if (!complete && mistakes == 0) {
      ++terse;
    } else if (mistakes == 1 && read.objects.size() == objects && read.relation == scene.relation) {
      ++one_thing_wrong;
    } else {
      ++wrong;
    }
  }
  EXPECT_NEAR(terse, kCount / 3.0, 5 * std::sqrt(kCount * 2 / 9.0));
  EXPECT_NEAR(one_thing_wrong, kCount / 3.0, 0.05 * kCount);  // another scene may happen to be nearly right
  EXPECT_NEAR(wrong, kCount / 3.0, 0.05 * kCount);
}

TEST(EmojiScenes, VocabularyIsExactlyTheWordsOfCaptions) {
  std::set<std::string> seen = {"a", "picture", "of"};
  for (int64_t i = 0; i < 5000; ++i) {
    for (const std::string& caption : captions(make_scene(Split::kTrain, i))) {
      std::istringstream words(caption);
      for (std::string word; words >> word;) seen.insert(word);
    }
  }
  EXPECT_EQ(std::vector<std::string>(seen.begin(), seen.end()), vocabulary());
}

TEST(EmojiScenes, JsonThereAndBack) {
  for (int64_t i = 0; i < 100; ++i) {
    const Scene scene = make_scene(Split::kTest, i);
    EXPECT_EQ(scene_from_json(to_json(scene)), scene);
  }
}

TEST(EmojiScenes, BadJsonIsADataError) {
  for (
      const char* text :
      {"", "[]", "{}", R"({"objects": [], "relation": "none", "background": "blue", "placements": []})",
       R"({"objects": ["dodo"], "relation": "none", "background": "blue", "placements": [[0, 0, 24]]})",
       R"({"objects": ["fox"], "relation": "none", "background": "mauve", "placements": [[0, 0, 24]]})",
       R"({"objects": ["fox"], "relation": "above", "background": "blue", "placements": [[0, 0, 24]]})",
       R"({"objects": ["fox", "bus"], "relation": "none", "background": "blue", "placements": [[0, 0, 9], [9, 9, 9]]})",
       R"({"objects": ["fox"], "relation": "none", "background": "blue", "placements": [[0, 0]]})",
       R"({"objects": ["fox"], "relation": "none", "background": "blue", "placements": [[-1, 0, 24]]})",
       R"({"objects": ["fox"], "relation": "none", "background": "blue", "placements": [[9, 0, 24]]})",
       R"({"objects": ["fox"], "relation": "none", "background": "blue", "placements": [[0, 0, 0]]})"}) {
    EXPECT_THROW(scene_from_json(text), DataError) << text;
  }
}

TEST(EmojiScenes, SplitsHaveNames) {
  for (Split split : {Split::kTrain, Split::kValidation, Split::kTest, Split::kNovelPairs}) {
    EXPECT_EQ(parse_split(split_name(split)), split);
  }
  EXPECT_THROW(parse_split("tset"), UsageError);
}

}  // namespace
}  // namespace readback::data
