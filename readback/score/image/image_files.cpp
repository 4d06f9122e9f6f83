#include "readback/score/image/image_files.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>

#include "readback/base/error.h"
#include "readback/data/dataset.h"
#include "readback/data/ids.h"
#include "readback/data/registry.h"
#include "readback/image/codec.h"

namespace readback::score {

namespace fs = std::filesystem;

namespace {

constexpr const char* kAllowMissing = "Set allow_missing to leave them out";

using Files = std::map<std::string, fs::path>;

Files files_by(const fs::path& folder, const std::function<std::string(const fs::path&)>& id) {
  Files files;
  std::vector<std::string> twice;
  for (const fs::path& path : list_images(folder)) {
    if (!files.emplace(id(path), path).second) twice.push_back(path.filename().string());
  }
  if (!twice.empty()) {
    throw DataError(describe(folder.string(), "one image of each name", "a second one: " + data::listed(twice)));
  }
  return files;
}

// True for ids as read_caption_file gives them to files without ids: 1, 2, 3 …
bool are_lines(const data::CaptionFile& captions) {
  for (size_t i = 0; i < captions.ids.size(); ++i) {
    if (captions.ids[i] != std::to_string(i + 1)) return false;
  }
  return true;
}

}  // namespace

std::vector<fs::path> list_images(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  if (data::names_layout(folder.string()) && !fs::exists(folder, error)) {
    const auto dataset = data::open_dataset(folder.string(), {.split = "all"});
    for (int64_t i = 0; i < dataset->size(); ++i) {
      if (const fs::path file = dataset->image_file(i); !file.empty()) files.push_back(file);
    }
    if (!files.empty()) return files;
    throw DataError(describe(folder.string(), "pictures in files of their own", "none: " + dataset->description(),
                             "Export them to a folder first"));
  }
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (!entry.is_regular_file()) continue;
    image::refuse_unreadable_kind(entry.path());
    if (image::has_image_name(entry.path())) files.push_back(entry.path());
  }
  if (files.empty()) {
    throw DataError(describe(folder.string(), std::string("a folder with images: ") + image::kReadableKinds,
                             error ? error.message() : "none of them"));
  }
  std::sort(files.begin(), files.end());
  return files;
}

MatchedImages match_images(const fs::path& generated, const fs::path& real, bool allow_missing) {
  const auto stem = [](const fs::path& path) { return path.stem().string(); };
  const Files candidates = files_by(generated, stem), originals = files_by(real, stem);
  MatchedImages matched;
  std::vector<std::string> without_original, without_candidate;
  for (const auto& [id, path] : candidates) {
    const auto original = originals.find(id);
    if (original == originals.end()) {
      without_original.push_back(id);
      continue;
    }
    matched.ids.push_back(id);
    matched.generated.push_back(path);
    matched.real.push_back(original->second);
  }
  for (const auto& [id, path] : originals) {
    if (!candidates.contains(id)) without_candidate.push_back(id);
  }
  if (matched.ids.empty()) {
    throw DataError(describe(generated.string(),
                             "images named as those of " + real.string() + ", such as " + originals.begin()->first,
                             "none of them, but " + data::listed(without_original)));
  }
  if (!allow_missing && !without_original.empty()) {
    throw DataError(describe(real.string(), "an image for every one of " + generated.string(),
                             "none for " + data::listed(without_original), kAllowMissing));
  }
  if (!allow_missing && !without_candidate.empty()) {
    throw DataError(describe(generated.string(), "an image for every one of " + real.string(),
                             "none for " + data::listed(without_candidate), kAllowMissing));
  }
  matched.left_out = std::move(without_original);
  matched.left_out.insert(matched.left_out.end(), without_candidate.begin(), without_candidate.end());
  return matched;
}

CaptionedImages match_captions(const fs::path& images, const data::CaptionFile& captions,
                               const std::optional<data::CaptionFile>& references, bool allow_missing) {
  const Files files = files_by(images, data::image_key);
  std::unordered_map<std::string, std::vector<std::string>> references_of;
  for (size_t i = 0; references && i < references->ids.size(); ++i) {
    std::ranges::copy(references->captions[i], std::back_inserter(references_of[data::image_key(references->ids[i])]));
  }
  CaptionedImages matched;
  const bool any =
      std::ranges::any_of(captions.ids, [&](const auto& id) { return files.contains(data::image_key(id)); });
  matched.by_line = !any && are_lines(captions) && captions.ids.size() == files.size();
  const std::vector<fs::path> sorted = list_images(images);
  std::set<fs::path> captioned;
  std::vector<std::string> without_image, without_references, without_caption;
  for (size_t i = 0; i < captions.ids.size(); ++i) {
    const std::string id = data::image_key(captions.ids[i]);
    const auto file = files.find(id);
    if (!matched.by_line && file == files.end()) {
      without_image.push_back(captions.ids[i]);
      continue;
    }
    const fs::path& path = matched.by_line ? sorted[i] : file->second;
    captioned.insert(path);
    const auto found = references_of.find(id);
    if (references && found == references_of.end()) {
      without_references.push_back(captions.ids[i]);
      continue;
    }
    matched.ids.push_back(path.stem().string());
    matched.images.push_back(path);
    matched.captions.push_back(captions.captions[i]);
    matched.references.push_back(references ? found->second : std::vector<std::string>());
  }
  for (const fs::path& path : sorted) {
    if (!captioned.contains(path)) without_caption.push_back(path.stem().string());
  }
  if (captioned.empty()) {
    throw DataError(
        describe(captions.source,
                 "ids that are names of images in " + images.string() + ", such as " + sorted.front().stem().string(),
                 "none of them, but " + data::listed(without_image)));
  }
  const auto refuse = [&](const std::string& where, const std::string& what, const std::vector<std::string>& ids) {
    if (!ids.empty() && !allow_missing) {
      throw DataError(describe(where, what, "none for " + data::listed(ids), kAllowMissing));
    }
  };
  refuse(images.string(), "an image for every caption of " + captions.source, without_image);
  refuse(captions.source, "a caption for every image of " + images.string(), without_caption);
  if (references) {
    refuse(references->source, "references for every caption of " + captions.source, without_references);
    if (matched.ids.empty()) {
      throw DataError(describe(references->source, "references of the captions of " + captions.source,
                               "those of " + data::listed(references->ids)));
    }
  }
  for (const auto& ids : {without_image, without_references, without_caption}) {
    matched.left_out.insert(matched.left_out.end(), ids.begin(), ids.end());
  }
  return matched;
}

std::vector<std::shared_ptr<const image::Image>> load_images(std::span<const fs::path> paths) {
  std::map<fs::path, std::shared_ptr<const image::Image>> loaded;
  for (const fs::path& path : paths) loaded[path];
  std::vector<std::pair<const fs::path, std::shared_ptr<const image::Image>>*> entries;
  for (auto& entry : loaded) entries.push_back(&entry);
  at::parallel_for(0, static_cast<int64_t>(entries.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      auto& [path, picture] = *entries[static_cast<size_t>(i)];
      picture = std::make_shared<image::Image>(image::load(path, image::Alpha::kOnWhite));
    }
  });
  std::vector<std::shared_ptr<const image::Image>> images;
  for (const fs::path& path : paths) images.push_back(loaded.at(path));
  return images;
}

}  // namespace readback::score
