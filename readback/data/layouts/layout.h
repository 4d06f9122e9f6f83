// What the layouts share: what they are recognised by, and what they are opened with.
#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "readback/data/registry.h"

namespace readback::data {

// What is seen of a file or folder before its layout is known.
struct Look {
  std::filesystem::path path;
  bool is_folder = false;
  // Of a file:
  std::string head;            // its first bytes, without a byte-order mark
  std::set<std::string> keys;  // where they are JSON: "images[].file_name"; "[].image" in a list
  bool is_json_lines = false;  // its first line is a JSON object of its own
  // Of a folder:
  bool has_pictures = false;    // directly in it
  bool has_side_files = false;  // NAME.txt or NAME.caption beside NAME.jpg
  std::set<std::string> names;  // of the files that mean something: metadata.jsonl, captions.jsonl, …
  bool has_archives = false;    // .tar
  bool has_parquet = false;
  bool has_folders = false;
  bool has_metadata_below = false;  // metadata.jsonl or metadata.csv in a folder of it

  bool has_key(const char* key) const { return keys.contains(key); }
};
// Reads no more than the beginning of a file, or a folder's names and those of the folders in it. What cannot be read
// is seen as empty.
Look look_at(const std::filesystem::path& path);

struct Opening {
  std::string spec;              // as the user gave it
  std::string text;              // without the layout's name
  std::filesystem::path path;    // the file or folder
  std::filesystem::path images;  // where pictures are named from
  bool names_images = false;     // the spec says so
  const DatasetOptions& options;
  Problems& problems;
  const Context& context;
};

// The name of a picture relative to `folder`, made so where it is an absolute one inside. Nothing where it leads out of
// the folder, which no reader follows.
std::optional<std::string> name_inside(const std::filesystem::path& folder, const std::string& name);
// name_inside(), which tells `problems` where it leads out.
std::optional<std::string> checked_name(const std::filesystem::path& folder, const std::string& name,
                                        const std::string& where, Problems& problems);

bool is_utf8(std::string_view text);

// Errors: DataError where `folder` is none.
void require_folder(const std::filesystem::path& folder);

// image::refuse_unreadable_kind for every picture, told to `problems`.
void refuse_unreadable_kinds(const std::filesystem::path& folder, const std::vector<Sample>& samples,
                             Problems& problems);

}  // namespace readback::data
