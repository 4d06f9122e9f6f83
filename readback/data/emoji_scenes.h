// The small world: one or two emoji on a flat background, drawn and described, with the truth known.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "readback/base/random.h"
#include "readback/image/image.h"

namespace readback::data {

enum class Split { kTrain, kValidation, kTest, kNovelPairs };
enum class Relation { kNone, kLeftOf, kAbove };

// Lengths in 1/32 of the picture's side: whole pixels at 32 px and at its multiples.
struct Placement {
  int x = 0, y = 0, side = 0;  // upper left corner and side of the sprite's square
  bool operator==(const Placement&) const = default;
};

struct Scene {
  int first = 0;                          // index into object_names()
  int second = -1;                        // -1: a single object
  Relation relation = Relation::kNone;    // of the first to the second
  int background = 0;                     // index into background_names()
  std::array<Placement, 2> placements{};  // of the first and the second
  bool single() const { return second < 0; }
  bool operator==(const Scene&) const = default;
};

// Names, all of one word, sorted. Errors of everything below that needs the atlas: DataError (missing or corrupt).
const std::vector<std::string>& object_names();
const std::vector<std::string>& background_names();
const std::vector<std::array<uint8_t, 3>>& background_colors();  // RGB

// "train", "validation", "test", "novel-pairs". Errors: UsageError.
Split parse_split(std::string_view name);
std::string split_name(Split split);
int64_t split_size(Split split);  // 50,000, 500, 1,000, 500; any index beyond gives a scene too

// True for the pairs (unordered) that occur only in the novel-pairs split: 35 of 276, two or three for each object.
bool is_novel_pair(int first, int second);

// Depends on nothing but its arguments. 40 % single objects; novel-pairs has pairs only.
Scene make_scene(Split split, int64_t index, uint64_t seed = 0);

// size × size pixels, equal bytes on every machine. Errors: UsageError for a size outside 8 … 1,024.
image::Image render(const Scene& scene, int64_t size = 32);

// A sprite's square on a flat colour, side × side pixels: what the oracle compares with.
image::Image render_sprite(int object, int64_t side, std::array<uint8_t, 3> background);

// A sprite's opacity, side × side values in 0 … 255.
std::vector<uint8_t> sprite_alpha(int object, int64_t side);

// Five phrasings: [0] and [1] are complete, [2] drops the background, [3] the relation, [4] is terse.
std::vector<std::string> captions(const Scene& scene);

// A caption as the web might have it, which may also happen to be right. A third each: of another scene of the training
// split; complete but for one thing, an object or the background, that is named wrongly; terse, which is captions()'
// [3] or [4] or the name of one of the objects.
std::string noisy_caption(const Scene& scene, Random& random);

// All words that captions() and the prompt "a picture of" can contain, sorted.
std::vector<std::string> vocabulary();

// {"objects": ["rocket", "fox"], "relation": "left of", "background": "blue", "placements": [[x, y, side], …]},
// and back. Errors: DataError.
std::string to_json(const Scene& scene);
Scene scene_from_json(std::string_view json);

}  // namespace readback::data
