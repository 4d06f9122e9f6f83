// Where samples come from: an image with reference texts, either without the other, and for the small world its truth.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "readback/base/context.h"
#include "readback/base/options.h"
#include "readback/image/image.h"

namespace readback::data {

struct Sample {
  std::string id;                       // unique within the data set, stable across machines
  std::string image_name;               // relative file name, or "ID.png" for scenes; empty when there is no image
  std::vector<std::string> references;  // human (or scene) captions, the most complete first; may be empty
  std::string truth;                    // scene as compact JSON (data/emoji_scenes.h), empty for photos
  std::string domain;                   // what results are grouped by, e.g. NoCaps' "near-domain"; empty: none
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

  // The picture's own file; empty where it has none (scenes, archives, a sample without an image).
  virtual std::filesystem::path image_file(int64_t /*index*/) const { return {}; }
  // The folder whose pictures all are samples; empty where there is none, or where others lie in it rightly.
  virtual std::filesystem::path image_folder() const { return {}; }
  // Where the sample is written, for messages: "captions.jsonl:17".
  virtual std::string place(int64_t index) const { return sample(index).id; }
};

// What open_dataset() takes, for people; data/registry.h has the whole list.
inline constexpr const char* kDatasetSpecs =
    "emoji-scenes, a folder of images, coco:ANNOTATIONS.json:IMAGES, texts:FILE, hub:datasets/OWNER/NAME, or what "
    "another "
    "layout's example says (docs/DATA.md)";

struct DatasetOptions {
  std::string split = "test";
  int64_t first = 0;
  int64_t limit = 0;
  uint64_t seed = 0;
  int64_t image_size = 32;
  std::optional<uint64_t> shuffle;
  std::string shard;
  std::vector<std::string> columns;

  static constexpr auto options() {
    using O = DatasetOptions;
    return std::tuple(
        option(
            &O::split, "split",
            "emoji-scenes: train, validation, test or novel-pairs; karpathy: train, restval, val, test, several with "
            "+ between them, or all"),
        option(&O::first, "first_sample", "How many samples are passed over", at_least(0)),
        option(&O::limit, "limit", "The next N samples; 0: all", at_least(0)),
        option(&O::seed, "dataset_seed", "emoji-scenes: another seed, other scenes"),
        option(&O::image_size, "image_size", "emoji-scenes: side in pixels", {8, 1024}),
        option(&O::shuffle, "shuffle", "Seed of a random order of all samples, before others are passed over"),
        option(&O::shard, "shard", "I/N: every Nth sample from the Ith on, of which first_sample and limit choose"),
        option(&O::columns, "columns",
               "Tables and JSON Lines: ROLE=COLUMN for columns with names of their own; roles are image, id, caption, "
               "domain"));
  }
};

// SPEC is a layout's name with what it is to read (`coco:ANNOTATIONS.json:IMAGES`), or a file or folder whose layout is
// told from what is in it. Pictures are named relative to the folder IMAGES, or where none is given to the file's own.
// A listed image that is missing or corrupt is an error only when it is loaded; one of a kind that is not read
// (image::refuse_unreadable_kind) is an error at once.
// Errors: UsageError (an unknown SPEC or split, or one that several layouts recognise), DataError (missing, empty,
// damaged, of another structure; a picture that lies outside its folder).
std::unique_ptr<Dataset> open_dataset(const std::string& spec, const DatasetOptions& options,
                                      const Context& context = {});

}  // namespace readback::data
