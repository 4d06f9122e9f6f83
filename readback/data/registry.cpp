#include "readback/data/registry.h"

#include <fmt/format.h>

#include <algorithm>

#include "readback/base/error.h"
#include "readback/data/layouts/layout.h"
#include "readback/data/layouts/table.h"
#include "readback/image/codec.h"
#include "readback/wire/hub.h"

namespace readback::data {

namespace fs = std::filesystem;

namespace {

constexpr const char* kEmojiScenes = "emoji-scenes";

constexpr Layout kLayouts[] = {
    {kEmojiScenes, kEmojiScenes, "", nullptr, open_emoji_scenes},
    {"folder", "folder:photos", "a folder with pictures in it", is_folder, open_folder},
    {"tree", "tree:photos", "a folder with pictures in its folders only", is_tree, open_tree},
    {"imagefolder", "imagefolder:photos", "metadata.jsonl or metadata.csv in a folder", is_imagefolder,
     open_imagefolder},
    {"coco", "coco:captions_val2017.json:val2017", "JSON with images[].file_name and annotations[]", is_coco,
     open_coco},
    {"nocaps", "nocaps:nocaps_val_4500_captions.json:val", "COCO's with images[].domain", is_nocaps, open_nocaps},
    {"karpathy", "karpathy:dataset_coco.json:coco", "JSON with images[].sentences", is_karpathy, open_karpathy},
    {"lavis", "lavis:coco_karpathy_test.json:coco", "a JSON list of objects with image or caption", is_lavis,
     open_lavis},
    {"flickr", "flickr:Flickr8k.token.txt:Images", "lines NAME.jpg#0, tab, caption; or Flickr30k's results.csv",
     is_flickr, open_flickr},
    {"jsonl", "jsonl:captions.jsonl:photos", "a JSON object a line, or captions.jsonl in a folder", is_json_lines,
     open_json_lines},
    {"webdataset", "webdataset:part-{000..009}.tar", ".tar, or a folder with such files", is_webdataset,
     open_webdataset},
    {"table", "table:captions.csv:photos", ".csv, .tsv, or a first line that names columns", is_table, open_table},
    {"texts", "texts:prompts.txt", ".txt that is none of these: a text a line", is_texts, open_texts},
};

std::string examples() {
  std::string list;
  for (const Layout& layout : kLayouts) list += fmt::format("{}{}", list.empty() ? "" : ", ", layout.example);
  return list;
}

const Layout* layout_named(const std::string& spec) {
  if (spec == kEmojiScenes) return &kLayouts[0];
  const auto found = std::ranges::find_if(kLayouts, [&](const Layout& layout) {
    return layout.recognises != nullptr && spec.starts_with(std::string(layout.name) + ":");
  });
  return found == std::end(kLayouts) ? nullptr : found;
}

// "FILE:IMAGES" or "FILE"; either may hold colons of its own. A file that is there decides; of one that is not, what
// ends in .json, or else the last colon.
void split_paths(Opening& opening) {
  const std::string& text = opening.text;
  std::error_code ignored;
  size_t colon = std::string::npos;
  if (!fs::exists(text, ignored)) {
    for (size_t place = text.find(':'); place != std::string::npos; place = text.find(':', place + 1)) {
      if (!fs::exists(text.substr(0, place), ignored)) continue;
      colon = place;
      break;
    }
    if (colon == std::string::npos) {
      const size_t json = text.find(".json:");
      colon = json != std::string::npos ? json + 5 : text.rfind(':');
    }
  }
  opening.names_images = colon != std::string::npos && colon + 1 < text.size();
  opening.path = text.substr(0, colon);
  const bool folder = fs::is_directory(opening.path, ignored);
  opening.images = opening.names_images             ? fs::path(text.substr(colon + 1))
                   : folder                         ? opening.path
                   : opening.path.has_parent_path() ? opening.path.parent_path()
                                                    : fs::path(".");
}

// The one layout that recognises what is there.
const Layout& recognised(const std::string& spec, const fs::path& path) {
  std::error_code ignored;
  const bool archives = spec.ends_with(".tar") && spec.find('{') != std::string::npos;
  if (!archives && !fs::exists(path, ignored)) {
    throw UsageError(describe("DATASET", kDatasetSpecs, "\"" + spec + "\"",
                              "There is no such file or folder. The layouts: " + examples()));
  }
  const Look look = look_at(archives ? fs::path(spec) : path);
  std::vector<const Layout*> found;
  for (const Layout& layout : kLayouts) {
    if (layout.recognises != nullptr && layout.recognises(look)) found.push_back(&layout);
  }
  if (found.size() == 1) return *found.front();
  if (found.size() > 1) {
    std::string choices;
    for (const Layout* layout : found)
      choices += fmt::format("{}{}:{}", choices.empty() ? "" : " or ", layout->name, spec);
    throw UsageError(describe("DATASET", "one layout", "\"" + spec + "\", which several recognise", "Give " + choices));
  }
  if (look.has_parquet || path.extension() == ".parquet") {
    throw DataError(describe(spec, "a layout that this build reads", "Parquet",
                             "Write its rows as JSON Lines (captions.jsonl: image, captions) beside its pictures, for "
                             "example with Python's datasets"));
  }
  if (look.is_folder) return *layout_named("folder:");  // which says what it lacks
  throw DataError(describe(spec, "a folder of images", "a file of no known layout", "The layouts: " + examples()));
}

}  // namespace

std::span<const Layout> layouts() { return kLayouts; }

bool names_layout(const std::string& spec) { return layout_named(spec) != nullptr; }

OpenedDataset open_dataset(const std::string& spec, const DatasetOptions& options, Problems& problems,
                           const Context& context) {
  check_options(options);
  if (const std::string folder = wire::pulled(spec, {}, context); folder != spec) {
    return open_dataset(folder, options, problems, context);
  }
  const Layout* layout = layout_named(spec);
  Opening opening{spec, spec, {}, {}, false, options, problems, context};
  if (layout != nullptr) opening.text = spec.substr(std::min(std::string_view(layout->name).size() + 1, spec.size()));
  if (layout != nullptr && opening.text.empty() && spec != kEmojiScenes) {
    throw UsageError(describe("DATASET", layout->example, "\"" + spec + "\""));
  }
  split_paths(opening);
  std::error_code ignored;
  if (layout == nullptr) {
    layout = &recognised(spec, opening.path);
  } else if (layout->open == open_coco && !opening.names_images && !fs::exists(opening.path, ignored)) {
    throw UsageError(describe("DATASET", "coco:ANNOTATIONS.json:IMAGES", spec));
  }
  return {layout, layout->open(opening)};
}

std::unique_ptr<Dataset> open_dataset(const std::string& spec, const DatasetOptions& options, const Context& context) {
  ThrownProblems problems;
  return open_dataset(spec, options, problems, context).dataset;
}

}  // namespace readback::data
