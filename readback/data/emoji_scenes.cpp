#include "readback/data/emoji_scenes.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "readback/base/error.h"
#include "readback/data/sprites.h"

namespace readback::data {

namespace {

constexpr int kGrid = 32;  // placements count in 1/32 of the picture's side
constexpr int kNovelPartners = 3;
constexpr double kSingleShare = 0.4;

struct SplitRow {
  Split split;
  const char* name;
  int64_t size;
};
constexpr SplitRow kSplits[] = {{Split::kTrain, "train", 50'000},
                                {Split::kValidation, "validation", 500},
                                {Split::kTest, "test", 1'000},
                                {Split::kNovelPairs, "novel-pairs", 500}};

const SplitRow& row(Split split) { return kSplits[static_cast<size_t>(split)]; }

constexpr const char* kRelationNames[] = {"none", "left of", "above"};

// Pairs in the order of their names' hash, each taken while both objects want partners: every object is held back
// about equally often, so that rejecting these pairs leaves the objects of the other splits uniform.
std::set<std::pair<int, int>> choose_novel_pairs() {
  const auto& names = object_names();
  const int count = static_cast<int>(names.size());
  std::vector<std::pair<uint64_t, std::pair<int, int>>> order;
  for (int a = 0; a < count; ++a) {
    for (int b = a + 1; b < count; ++b) order.push_back({fnv1a("novel pair " + names[a] + " " + names[b]), {a, b}});
  }
  std::sort(order.begin(), order.end());
  std::set<std::pair<int, int>> chosen;
  std::vector<int> partners(names.size(), 0);
  for (const auto& [hash, pair] : order) {
    if (partners[pair.first] == kNovelPartners || partners[pair.second] == kNovelPartners) continue;
    ++partners[pair.first];
    ++partners[pair.second];
    chosen.insert(pair);
  }
  return chosen;
}

// `middle` ± `reach`, kept inside 0 … free.
int jitter(Random& random, int middle, int reach, int free) {
  return std::clamp(middle - reach + static_cast<int>(random.below(2 * reach + 1)), 0, free);
}

Placement place_single(Random& random) {
  Placement place;
  place.side = 23 + static_cast<int>(random.below(5));  // 72 to 84 %
  const int free = kGrid - place.side;
  place.x = jitter(random, free / 2, 2, free);
  place.y = jitter(random, free / 2, 2, free);
  return place;
}

// One of two: inside its half along the axis of the relation, near the middle across it.
Placement place_half(Random& random, Relation relation, bool second) {
  Placement place;
  place.side = 14 + static_cast<int>(random.below(2));  // 44 to 47 %
  const int along = static_cast<int>(random.below(kGrid / 2 - place.side + 1)) + (second ? kGrid / 2 : 0);
  const int across = jitter(random, (kGrid - place.side) / 2, 2, kGrid - place.side);
  place.x = relation == Relation::kLeftOf ? along : across;
  place.y = relation == Relation::kLeftOf ? across : along;
  return place;
}

// `length` of the grid in pixels, rounded.
int64_t to_pixels(int length, int64_t size) { return (length * size + kGrid / 2) / kGrid; }

void draw(image::Image& picture, int object, const Placement& place, std::array<uint8_t, 3> background) {
  const int64_t side = std::max<int64_t>(1, to_pixels(place.side, picture.width));
  const int64_t left = to_pixels(place.x, picture.width), top = to_pixels(place.y, picture.height);
  const auto& sprite = scaled_sprite(object, side);
  for (int64_t y = 0; y < side && top + y < picture.height; ++y) {
    for (int64_t x = 0; x < side && left + x < picture.width; ++x) {
      const SpritePixel& pixel = sprite[static_cast<size_t>(y * side + x)];
      if (pixel.alpha == 0) continue;
      uint8_t* target = picture.at(left + x, top + y);
      for (int c = 0; c < 3; ++c) target[c] = blend(pixel, c, background[c]);
    }
  }
}

image::Image flat(int64_t side, std::array<uint8_t, 3> color) {
  image::Image picture(side, side);
  for (size_t i = 0; i < picture.pixels.size(); ++i) picture.pixels[i] = color[i % 3];
  return picture;
}

// With its article: "an umbrella", but "a unicorn".
std::string with_article(const std::string& word) {
  const bool vowel = std::string_view("aeiou").find(word[0]) != std::string_view::npos && !word.starts_with("uni");
  return (vowel ? "an " : "a ") + word;
}

int index_of(const std::vector<std::string>& names, const std::string& name, const std::string& what) {
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) throw DataError(describe("scene", "a known " + what, "\"" + name + "\""));
  return static_cast<int>(found - names.begin());
}

}  // namespace

const std::vector<std::string>& object_names() { return atlas().objects; }
const std::vector<std::string>& background_names() { return atlas().backgrounds; }
const std::vector<std::array<uint8_t, 3>>& background_colors() { return atlas().colors; }

Split parse_split(std::string_view name) {
  for (const SplitRow& candidate : kSplits) {
    if (name == candidate.name) return candidate.split;
  }
  throw UsageError(describe("split", "train, validation, test or novel-pairs", "\"" + std::string(name) + "\""));
}

std::string split_name(Split split) { return row(split).name; }
int64_t split_size(Split split) { return row(split).size; }

bool is_novel_pair(int first, int second) {
  static const std::set<std::pair<int, int>> kPairs = choose_novel_pairs();
  return kPairs.contains({std::min(first, second), std::max(first, second)});
}

Scene make_scene(Split split, int64_t index, uint64_t seed) {
  Random random(seed, Purpose::kScene, split_name(split), static_cast<uint64_t>(index));
  const auto objects = static_cast<int64_t>(object_names().size());
  Scene scene;
  const bool novel = split == Split::kNovelPairs;
  const bool single = random.uniform() < kSingleShare && !novel;
  scene.background = static_cast<int>(random.below(static_cast<int64_t>(background_names().size())));
  if (single) {
    scene.first = static_cast<int>(random.below(objects));
    scene.placements[0] = place_single(random);
    return scene;
  }
  scene.relation = random.below(2) == 0 ? Relation::kLeftOf : Relation::kAbove;
  do {
    scene.first = static_cast<int>(random.below(objects));
    scene.second = static_cast<int>(random.below(objects));
  } while (scene.first == scene.second || is_novel_pair(scene.first, scene.second) != novel);
  scene.placements[0] = place_half(random, scene.relation, false);
  scene.placements[1] = place_half(random, scene.relation, true);
  return scene;
}

image::Image render(const Scene& scene, int64_t size) {
  if (size < 8 || size > 1024) throw UsageError(describe("picture size", "8 to 1024", std::to_string(size)));
  const auto color = background_colors().at(static_cast<size_t>(scene.background));
  image::Image picture = flat(size, color);
  draw(picture, scene.first, scene.placements[0], color);
  if (!scene.single()) draw(picture, scene.second, scene.placements[1], color);
  return picture;
}

image::Image render_sprite(int object, int64_t side, std::array<uint8_t, 3> background) {
  image::Image picture = flat(side, background);
  draw(picture, object, {0, 0, kGrid}, background);
  return picture;
}

std::vector<uint8_t> sprite_alpha(int object, int64_t side) {
  std::vector<uint8_t> alpha;
  for (const SpritePixel& pixel : scaled_sprite(object, side)) {
    alpha.push_back(static_cast<uint8_t>((pixel.alpha + kSpriteUnit / 2) / kSpriteUnit));
  }
  return alpha;
}

std::vector<std::string> captions(const Scene& scene) {
  const std::string first = with_article(object_names().at(static_cast<size_t>(scene.first)));
  const std::string color = background_names().at(static_cast<size_t>(scene.background));
  const std::string background = with_article(color) + " background";
  if (scene.single()) {
    return {first + " on " + background, background + " with " + first, first, first + " on " + color,
            object_names()[static_cast<size_t>(scene.first)]};
  }
  const std::string second = with_article(object_names().at(static_cast<size_t>(scene.second)));
  const bool beside = scene.relation == Relation::kLeftOf;
  const std::string forward = first + (beside ? " to the left of " : " above ") + second;
  const std::string inverse = second + (beside ? " to the right of " : " below ") + first;
  return {forward + " on " + background, inverse + " with " + background, forward,
          first + " and " + second + " on " + color, first + " and " + second};
}

std::string noisy_caption(const Scene& scene, Random& random) {
  const int64_t objects = static_cast<int64_t>(object_names().size()), kind = random.below(3);
  if (kind == 0) return captions(make_scene(Split::kTrain, random.below(split_size(Split::kTrain))))[0];
  if (kind == 1) {
    Scene wrong = scene;
    const int64_t things = scene.single() ? 2 : 3, thing = random.below(things);
    if (thing == 0) {
      const int64_t shift = 1 + random.below(static_cast<int64_t>(background_names().size()) - 1);
      wrong.background = static_cast<int>((scene.background + shift) % static_cast<int64_t>(background_names().size()));
    } else {
      int& object = thing == 1 ? wrong.first : wrong.second;
      while (object == scene.first || object == scene.second) object = static_cast<int>(random.below(objects));
    }
    return captions(wrong)[static_cast<size_t>(random.below(2))];
  }
  const int64_t choice = random.below(scene.single() ? 3 : 4);
  if (choice < 2) return captions(scene)[static_cast<size_t>(3 + choice)];
  return object_names().at(static_cast<size_t>(choice == 2 ? scene.first : scene.second));
}

std::vector<std::string> vocabulary() {
  std::set<std::string> words = {"a",  "above", "an",      "and",   "background", "below", "left",
                                 "of", "on",    "picture", "right", "the",        "to",    "with"};
  words.insert(object_names().begin(), object_names().end());
  words.insert(background_names().begin(), background_names().end());
  return {words.begin(), words.end()};
}

std::string to_json(const Scene& scene) {
  nlohmann::ordered_json json;
  const auto add = [&](int object, const Placement& place) {
    json["objects"].push_back(object_names().at(static_cast<size_t>(object)));
    json["placements"].push_back({place.x, place.y, place.side});
  };
  json["objects"] = nlohmann::ordered_json::array();
  json["relation"] = kRelationNames[static_cast<size_t>(scene.relation)];
  json["background"] = background_names().at(static_cast<size_t>(scene.background));
  add(scene.first, scene.placements[0]);
  if (!scene.single()) add(scene.second, scene.placements[1]);
  return json.dump();
}

Scene scene_from_json(std::string_view text) {
  try {
    const auto json = nlohmann::json::parse(text);
    const auto names = json.at("objects").get<std::vector<std::string>>();
    const auto places = json.at("placements").get<std::vector<std::array<int, 3>>>();
    const std::string relation = json.at("relation");
    const auto known = std::find(std::begin(kRelationNames), std::end(kRelationNames), relation);
    if (names.empty() || names.size() > 2 || places.size() != names.size() || known == std::end(kRelationNames) ||
        (names.size() == 2) == (relation == kRelationNames[0])) {
      throw DataError(describe("scene", "one object, or two and their relation", std::string(text)));
    }
    Scene scene;
    scene.relation = static_cast<Relation>(known - std::begin(kRelationNames));
    scene.background = index_of(background_names(), json.at("background"), "background");
    scene.first = index_of(object_names(), names[0], "object");
    if (names.size() == 2) scene.second = index_of(object_names(), names[1], "object");
    for (size_t i = 0; i < places.size(); ++i) {
      const auto [x, y, side] = places[i];
      if (x < 0 || y < 0 || side < 1 || side > kGrid || x > kGrid - side || y > kGrid - side) {
        throw DataError(describe("scene", "placements inside the picture", std::string(text)));
      }
      scene.placements[i] = {x, y, side};
    }
    return scene;
  } catch (const nlohmann::json::exception& error) {
    throw DataError(describe("scene", "the scene's JSON", error.what()));
  }
}

}  // namespace readback::data
