// Folders of pictures, with captions beside them.
#include <algorithm>

#include "readback/base/error.h"
#include "readback/data/layouts/layout.h"
#include "readback/data/layouts/table.h"
#include "readback/data/picture_files.h"
#include "readback/data/side_captions.h"
#include "readback/image/codec.h"

namespace readback::data {

namespace fs = std::filesystem;

namespace {

bool is_side_file(const fs::path& path) {
  return std::ranges::find(kSideEndings, path.extension()) != std::end(kSideEndings) &&
         !path.filename().string().starts_with('.');
}

struct Reading {
  fs::path folder;
  Problems& problems;
  std::vector<Sample> samples;
  std::vector<fs::path> side_files;  // only when checking
};

void add(Reading& reading, const fs::path& path) {
  try {
    image::refuse_unreadable_kind(path);
  } catch (const DataError& error) {
    reading.problems.error(Damage::kUnreadablePicture, error.what());
    return;
  }
  if (reading.problems.checking() && is_side_file(path)) reading.side_files.push_back(path);
  if (!image::has_image_name(path)) return;
  const std::string name = path.lexically_relative(reading.folder).generic_string();
  reading.samples.push_back({name, name, side_captions(path, reading.problems), ""});
}

void report_lone_side_files(const Reading& reading) {
  std::set<fs::path> stems;
  for (const Sample& sample : reading.samples) stems.insert((reading.folder / sample.image_name).replace_extension());
  for (const fs::path& path : reading.side_files) {
    if (stems.contains(fs::path(path).replace_extension())) continue;
    reading.problems.remark(Damage::kCaptionWithoutPicture,
                            describe(path.string(), "a picture of the same name beside it", "none"));
  }
}

std::unique_ptr<Dataset> finish(Reading& reading, const std::string& kind, const DatasetOptions& options) {
  if (reading.samples.empty()) {
    reading.problems.error(
        Damage::kMissingPicture,
        describe(reading.folder.string(), std::string("images: ") + image::kReadableKinds, "a folder without any"));
  }
  report_lone_side_files(reading);
  std::sort(reading.samples.begin(), reading.samples.end(),
            [](const Sample& a, const Sample& b) { return a.id < b.id; });
  return std::make_unique<PictureFiles>(PictureFiles::Origin{kind, reading.folder, reading.folder},
                                        std::move(reading.samples), "", options);
}

void refuse_unreadable_folder(const fs::path& folder, const std::error_code& error) {
  if (error) throw DataError(describe(folder.string(), "a readable folder", error.message()));
}

}  // namespace

// What names captions or pictures in a table of its own is no mere folder of pictures, unless side files say otherwise:
// then both recognise it, and the user must choose.
bool is_folder(const Look& look) { return look.has_pictures && (look.names.empty() || look.has_side_files); }
bool is_tree(const Look& look) {
  return look.is_folder && !look.has_pictures && look.has_folders && look.names.empty() && !look.has_archives &&
         !look.has_metadata_below;
}

std::unique_ptr<Dataset> open_folder(const Opening& opening) {
  require_folder(opening.path);
  Reading reading{opening.path, opening.problems, {}, {}};
  std::error_code error;
  for (fs::directory_iterator entry(opening.path, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (!entry->is_directory(ignored)) add(reading, entry->path());
  }
  refuse_unreadable_folder(opening.path, error);
  return finish(reading, "folder", opening.options);
}

std::unique_ptr<Dataset> open_tree(const Opening& opening) {
  require_folder(opening.path);
  constexpr int kDeepest = 32;
  Reading reading{opening.path, opening.problems, {}, {}};
  std::error_code error;
  // Links to folders are not followed: they may lead out, and round in circles.
  for (fs::recursive_directory_iterator entry(opening.path, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code ignored;
    if (!entry->is_directory(ignored)) {
      add(reading, entry->path());
    } else if (entry.depth() >= kDeepest || entry->path().filename().string().starts_with('.')) {
      entry.disable_recursion_pending();
    }
  }
  refuse_unreadable_folder(opening.path, error);
  return finish(reading, "tree", opening.options);
}

}  // namespace readback::data
