// What a picture or a caption of the small world says, and how much of the truth that is.
#pragma once
#include <string_view>
#include <vector>

#include "readback/data/emoji_scenes.h"
#include "readback/image/image.h"

namespace readback::data {

struct ReadObject {
  int object = 0;       // index into object_names()
  double score = 1;     // pictures: cosine of sprite and picture, both less the background; captions: 1
  Placement placement;  // pictures only, in 1/32 of the side
  bool operator==(const ReadObject&) const = default;
};

struct Reading {
  std::vector<ReadObject> objects;      // with a relation: the left or upper one first; else as found
  Relation relation = Relation::kNone;  // "right of" and "below" are read as their inverses
  int background = -1;                  // -1: none, unknown or contradictory
};

// Finds up to two sprites and their layout in any picture: seen at 32 × 32, less the median color of its border,
// compared with every sprite at the sizes and places that scenes have and somewhat beyond. What fits with a cosine
// below kSeen is not there. Integer arithmetic: equal on every machine. Errors: DataError for a picture without pixels.
Reading read_image(const image::Image& picture);
constexpr double kSeen = 0.5;

// Objects, relation and background named in any text; unknown words are skipped, contradictions count as not named.
Reading parse_caption(std::string_view text);

struct Accuracy {
  bool objects = false;   // exactly the scene's objects
  bool relation = false;  // pairs: its kind is right and an object stands in its place; singles: none is claimed
  bool background = false;
  bool all = false;     // the three together; for a caption: every content word right and nothing wrong
  double semantic = 0;  // F1 of content items (each object, the relation with its order, the background), 0 … 1
};

Accuracy compare(const Scene& truth, const Reading& reading);

}  // namespace readback::data
