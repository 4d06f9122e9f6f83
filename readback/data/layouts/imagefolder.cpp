// Folders of pictures with metadata.jsonl or metadata.csv (file_name, text), as Hugging Face's imagefolder reads them;
// each such file names the pictures of its own folder and of those below.
#include <algorithm>
#include <map>

#include "readback/base/error.h"
#include "readback/data/layouts/layout.h"
#include "readback/data/layouts/table.h"
#include "readback/data/picture_files.h"
#include "readback/data/record_formats.h"
#include "readback/image/codec.h"

namespace readback::data {

namespace fs = std::filesystem;

namespace {

constexpr int kDeepest = 32;

struct Found {
  std::vector<fs::path> pictures, tables;
};

Found look_through(const fs::path& folder, Problems& problems) {
  Found found;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    const std::string name = entry->path().filename().string();
    if (entry->is_directory(ignored)) {
      if (entry.depth() >= kDeepest || name.starts_with('.')) entry.disable_recursion_pending();
      continue;
    }
    try {
      image::refuse_unreadable_kind(entry->path());
    } catch (const DataError& failure) {
      problems.error(Damage::kUnreadablePicture, failure.what());
      continue;
    }
    if (name == "metadata.jsonl" || name == "metadata.csv") found.tables.push_back(entry->path());
    if (image::has_image_name(entry->path())) found.pictures.push_back(entry->path());
  }
  if (error) throw DataError(describe(folder.string(), "a readable folder", error.message()));
  std::ranges::sort(found.tables);
  return found;
}

}  // namespace

bool is_imagefolder(const Look& look) {
  return look.names.contains("metadata.jsonl") || look.names.contains("metadata.csv") ||
         (look.is_folder && !look.has_pictures && look.names.empty() && look.has_metadata_below);
}

std::unique_ptr<Dataset> open_imagefolder(const Opening& opening) {
  require_folder(opening.path);
  Problems& problems = opening.problems;
  const Found found = look_through(opening.path, problems);
  if (found.tables.empty()) {
    problems.error(Damage::kWrongStructure,
                   describe(opening.path.string(), "metadata.jsonl or metadata.csv", "neither"));
  }
  const Columns columns(opening.options.columns);
  std::map<std::string, Sample> samples;
  std::map<fs::path, fs::path> table_of_folder;
  const DatasetOptions all;
  for (const fs::path& table : found.tables) {
    const fs::path folder = table.parent_path();
    if (const auto [other, is_new] = table_of_folder.emplace(folder, table); !is_new) {
      problems.error(Damage::kWrongStructure,
                     describe(folder.string(), "one file of metadata",
                              other->second.filename().string() + " and " + table.filename().string()));
      continue;
    }
    auto format = table.extension() == ".jsonl" ? make_json_lines(columns, folder)
                                                : make_table_of(table, columns, folder, problems);
    if (format == nullptr) continue;
    const Opening reading{opening.spec, "", table, folder, true, all, problems, opening.context};
    const RecordFile records({"imagefolder", table, folder, "rows", "rows with file_name"}, std::move(format), reading);
    for (int64_t i = 0; i < records.size(); ++i) {
      Sample sample = records.sample(i);
      if (!sample.has_image()) {
        problems.error(Damage::kWrongColumns, describe(records.place(i), "file_name", "a row without it"));
        continue;
      }
      sample.image_name = (folder / sample.image_name)
                              .lexically_normal()
                              .lexically_relative(opening.path.lexically_normal())
                              .generic_string();
      sample.id = sample.image_name;
      const std::string id = sample.id;
      if (!samples.emplace(id, std::move(sample)).second) {
        problems.error(Damage::kDoubledId, describe(records.place(i), "each picture once", "a second " + id));
      }
    }
  }
  for (const fs::path& picture : found.pictures) {
    const std::string name = picture.lexically_relative(opening.path).generic_string();
    samples.emplace(name, Sample{name, name, {}, ""});
  }
  std::vector<Sample> list;
  for (auto& [id, sample] : samples) list.push_back(std::move(sample));
  if (list.empty()) {
    problems.error(Damage::kMissingPicture, describe(opening.path.string(), "images", "a folder without any"));
  }
  return std::make_unique<PictureFiles>(PictureFiles::Origin{"imagefolder", opening.path, opening.path},
                                        std::move(list), "", opening.options);
}

}  // namespace readback::data
