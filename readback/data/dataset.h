// Where samples come from: an image with reference texts, either without the other, and for the small world its truth.
#pragma once
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <tuple>
#include <vector>

#include "readback/base/options.h"
#include "readback/image/image.h"

namespace readback::data {

struct Sample {
  std::string id;                       // unique within the data set, stable across machines
  std::string image_name;               // file name, or "ID.png" for scenes; empty when there is no image
  std::vector<std::string> references;  // human (or scene) captions, the most complete first; may be empty
  std::string truth;                    // scene as compact JSON (data/emoji_scenes.h), empty for photos
  bool has_image() const { return !image_name.empty(); }
};

class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual int64_t size() const = 0;
  virtual Sample sample(int64_t index) const = 0;  // cheap: reads no pixels
  // Transparent pictures are laid on white, as transformers does for captioners and embedders: so a run stores its
  // originals, and so all its metrics see them, FID's too. Errors: DataError (missing, corrupt, a
  // sample without an image).
  virtual image::Image load_image(int64_t index) const = 0;
  virtual std::string description() const = 0;  // e.g. "emoji-scenes, test split, 200 of 1,000 scenes"
  // What of its files is in no sample or has no captions, counted; part of the description. Empty: nothing.
  virtual std::string remarks() const { return ""; }
  virtual std::string digest() const = 0;  // 16 hex digits over ids, references and source
};

// What open_dataset() takes, for people.
inline constexpr const char* kDatasetSpecs =
    "emoji-scenes, a folder of images, coco:ANNOTATIONS.json:IMAGES or texts:FILE";

struct DatasetOptions {
  std::string split = "test";
  int64_t first = 0;
  int64_t limit = 0;
  uint64_t seed = 0;
  int64_t image_size = 32;

  static constexpr auto options() {
    using O = DatasetOptions;
    return std::tuple(option(&O::split, "split", "emoji-scenes: train, validation, test or novel-pairs"),
                      option(&O::first, "first_sample", "How many samples are passed over", at_least(0)),
                      option(&O::limit, "limit", "The next N samples; 0: all", at_least(0)),
                      option(&O::seed, "dataset_seed", "emoji-scenes: another seed, other scenes"),
                      option(&O::image_size, "image_size", "emoji-scenes: side in pixels", {8, 1024}));
  }
};

// SPEC: `emoji-scenes`; a folder of images (sorted by name, the file name is the id; captions in NAME.txt beside
// NAME.jpg, one a line, blank lines passed over); `coco:ANNOTATIONS.json:IMAGES` (in the file's order, the file name's
// stem is the id); or `texts:FILE`, texts without images (one a line, blank lines passed over, the line is the id).
// Captions of images that are not listed are left out and counted in remarks().
// A listed image that is missing or corrupt is an error only when it is loaded; one of a kind that is not read
// (image::refuse_unreadable_kind) is an error at once.
// Errors: UsageError (unknown SPEC or split), DataError (missing, empty, not JSON, of another structure).
std::unique_ptr<Dataset> open_dataset(const std::string& spec, const DatasetOptions& options);

}  // namespace readback::data
