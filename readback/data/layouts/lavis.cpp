// Lists of objects, as LAVIS and BLIP annotate: [{image, caption, image_id}], with one caption an entry for training
// and a list of them for evaluation. Entries of one picture are one sample.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <unordered_map>

#include "readback/base/error.h"
#include "readback/data/columns.h"
#include "readback/data/ids.h"
#include "readback/data/json_files.h"
#include "readback/data/layouts/layout.h"
#include "readback/data/layouts/table.h"
#include "readback/data/picture_files.h"

namespace readback::data {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

// LAVIS numbers its pictures anew (`image_id`: "coco_522418", `img_id`: 3), so that a picture's id is its name's.
std::string id_of_picture(const Sample& sample) {
  return sample.has_image() ? fs::path(sample.image_name).stem().string() : sample.id;
}

}  // namespace

bool is_lavis(const Look& look) { return look.has_key("[].image") || look.has_key("[].caption"); }

std::unique_ptr<Dataset> open_lavis(const Opening& opening) {
  Problems& problems = opening.problems;
  const std::string where = opening.path.string();
  std::vector<Sample> samples;
  std::unordered_map<std::string, size_t> places;
  const Columns columns(opening.options.columns);
  const std::optional<json> file = read_json_file(opening.path, {}, problems);
  if (file && !file->is_array()) {
    problems.error(Damage::kWrongStructure,
                   describe(where, "a list of objects with image and caption", file->type_name()));
  }
  std::set<bool> id_types;
  for (size_t i = 0; file && file->is_array() && i < file->size(); ++i) {
    const std::string here = fmt::format("{}, entry {}", where, i + 1);
    auto sample = sample_of((*file)[i], columns, opening.images, fmt::format("entry-{:06}", i + 1), here, problems);
    if (!sample) continue;
    if (const auto id = (*file)[i].find("image_id"); id != (*file)[i].end()) id_types.insert(id->is_string());
    sample->id = id_of_picture(*sample);
    const auto [place, is_new] = places.emplace(sample->id, samples.size());
    if (is_new) {
      samples.push_back(std::move(*sample));
    } else if (samples[place->second].image_name != sample->image_name) {
      problems.error(Damage::kDoubledId,
                     describe(here, "an id of its own for each picture", "\"" + sample->id + "\" for another one"));
    } else {
      std::ranges::move(sample->references, std::back_inserter(samples[place->second].references));
    }
  }
  if (id_types.size() > 1) {
    problems.remark(Damage::kIdsOfTwoTypes, describe(where, "ids that are all numbers or all strings", "both"));
  }
  if (samples.empty()) problems.error(Damage::kWrongStructure, describe(where, "at least one entry", "none"));
  require_folder(opening.images);
  refuse_unreadable_kinds(opening.images, samples, problems);
  return std::make_unique<PictureFiles>(PictureFiles::Origin{"lavis", opening.path, opening.images, "samples"},
                                        std::move(samples), "", opening.options);
}

}  // namespace readback::data
