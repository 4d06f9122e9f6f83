#include "readback/data/layouts/layout.h"

#include <unicode/utf8.h>

#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/lines.h"
#include "readback/data/json_files.h"
#include "readback/data/line_reader.h"
#include "readback/data/side_captions.h"
#include "readback/image/codec.h"

namespace readback::data {

namespace fs = std::filesystem;

namespace {

constexpr const char* kMeaningful[] = {"metadata.jsonl", "metadata.csv", "captions.jsonl"};

bool has_metadata(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / "metadata.jsonl", ignored) || fs::exists(folder / "metadata.csv", ignored);
}

void look_at_folder(Look& look) {
  std::error_code error;
  std::set<std::string> pictures, sides;  // their names without endings
  for (fs::directory_iterator entry(look.path, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    const fs::path& path = entry->path();
    const std::string stem = path.stem().string();
    if (entry->is_directory(ignored)) {
      if (path.filename().string().starts_with('.')) continue;
      look.has_folders = true;
      look.has_metadata_below = look.has_metadata_below || has_metadata(path);
    } else if (image::has_image_name(path)) {
      pictures.insert(stem);
    } else if (path.extension() == ".tar") {
      look.has_archives = true;
    } else if (path.extension() == ".parquet") {
      look.has_parquet = true;
    } else {
      for (const char* ending : kSideEndings) {
        if (path.extension() == ending) sides.insert(stem);
      }
      for (const char* name : kMeaningful) {
        if (path.filename() == name) look.names.insert(name);
      }
    }
  }
  look.has_pictures = !pictures.empty();
  for (const std::string& stem : sides) look.has_side_files = look.has_side_files || pictures.contains(stem);
}

bool is_object(std::string_view line) {
  if (!trimmed(line).starts_with('{')) return false;
  try {
    return parse_json(line).is_object();
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

}  // namespace

Look look_at(const fs::path& path) {
  Look look;
  look.path = path;
  std::error_code error;
  look.is_folder = fs::is_directory(path, error);
  if (look.is_folder) {
    look_at_folder(look);
    return look;
  }
  constexpr int64_t kHead = 1 << 20;
  try {
    look.head = RandomFile(path).read(0, kHead);
    look.head.erase(0, look.head.size() - without_mark(look.head, path.string()).size());
  } catch (const DataError&) {  // opening it says why
    look.head.clear();
    return look;
  }
  const std::string extension = path.extension().string();
  const std::vector<std::string_view> lines = lines_of(look.head);
  // An object over several lines is one document, and so is one that is all of a file with another name.
  const bool several = lines.size() > 1 && trimmed(lines[1]).starts_with('{');
  look.is_json_lines =
      !lines.empty() && (extension == ".jsonl" || extension == ".ndjson" || several) && is_object(lines[0]);
  look.is_json_lines = look.is_json_lines || extension == ".jsonl" || extension == ".ndjson";
  if (!look.is_json_lines) look.keys = json_keys(look.head);
  return look;
}

std::optional<std::string> name_inside(const fs::path& folder, const std::string& name) {
  if (name.empty() || name.find('\0') != std::string::npos) return std::nullopt;
  fs::path path = fs::path(name).lexically_normal();
  if (path.is_absolute()) path = path.lexically_relative(folder.lexically_normal());
  if (path.empty() || path == "." || *path.begin() == "..") return std::nullopt;
  return path.generic_string();
}

std::optional<std::string> checked_name(const fs::path& folder, const std::string& name, const std::string& where,
                                        Problems& problems) {
  auto inside = name_inside(folder, name);
  if (!inside) {
    problems.error(Damage::kPathLeavesFolder,
                   describe(where, "a picture in " + (folder.empty() ? "it" : folder.string()), "\"" + name + "\"",
                            "Name the folder that has all of them behind the file: FILE:IMAGES"));
  }
  return inside;
}

bool is_utf8(std::string_view text) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  const auto size = static_cast<int64_t>(text.size());
  for (int64_t i = 0; i < size;) {
    UChar32 character = 0;
    U8_NEXT(bytes, i, size, character);
    if (character < 0) return false;
  }
  return true;
}

void require_folder(const fs::path& folder) {
  std::error_code error;
  if (fs::is_directory(folder, error)) return;
  const bool there = fs::exists(folder, error);
  throw DataError(describe(folder.string(), "a folder of images", there ? "a file" : "nothing there"));
}

void refuse_unreadable_kinds(const fs::path& folder, const std::vector<Sample>& samples, Problems& problems) {
  for (const Sample& sample : samples) {
    if (!sample.has_image()) continue;
    try {
      image::refuse_unreadable_kind(folder / sample.image_name);
    } catch (const DataError& error) {
      problems.error(Damage::kUnreadablePicture, error.what());
    }
  }
}

}  // namespace readback::data
