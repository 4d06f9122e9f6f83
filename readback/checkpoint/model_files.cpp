#include "readback/checkpoint/model_files.h"

#include <fmt/format.h>

#include "readback/base/error.h"

namespace readback::checkpoint {

namespace fs = std::filesystem;

namespace {

bool belongs_to_model(const fs::path& file) {
  const std::string extension = file.extension().string();
  return extension == ".json" || extension == ".txt" || extension == ".safetensors" || extension == ".bin";
}

// In order of names, whatever the file system's order.
std::map<std::string, fs::path> list(const fs::path& folder) {
  std::map<std::string, fs::path> files;
  std::error_code error;
  for (auto entry = fs::recursive_directory_iterator(folder, error); entry != fs::recursive_directory_iterator();
       entry.increment(error)) {
    if (error) break;
    const fs::path& path = entry->path();
    const bool is_state = entry->is_directory() && path == folder / "training";  // of the training that wrote the model
    if (path.filename().string().starts_with(".") || is_state) {
      if (entry->is_directory()) entry.disable_recursion_pending();
    } else if (belongs_to_model(path) && entry->is_regular_file()) {
      files[path.lexically_relative(folder).generic_string()] = path;
    }
  }
  if (error) throw CheckpointError(describe(folder.string(), "a readable folder", error.message()));
  return files;
}

}  // namespace

std::string summary_of_files(const fs::path& folder) {
  std::string summary;
  try {
    for (const auto& [name, path] : list(folder))
      summary += fmt::format("{}\n{} {}\n", name, fs::file_size(path), file_digest(path));
  } catch (const DataError& error) {
    throw CheckpointError(error.what());
  }
  return summary;
}

void UnchangedFiles::check(const fs::path& folder) {
  std::map<std::string, FileStamp> stamps;
  try {
    for (const auto& [name, path] : list(folder)) stamps[name] = file_stamp(path);
  } catch (const DataError& error) {
    throw CheckpointError(error.what());
  }
  const std::lock_guard lock(mutex_);
  const auto [seen, is_first] = first_.try_emplace(folder, stamps);
  if (is_first || seen->second == stamps) return;
  const auto fail = [&](const std::string& file, const char* what) {
    throw CheckpointError(describe(folder.string(), "a model that stays as it is while it is read",
                                   fmt::format("'{}', which {}", file, what), "Start again when it is complete"));
  };
  for (const auto& [name, stamp] : stamps) {
    const auto before = seen->second.find(name);
    if (before == seen->second.end()) fail(name, "was added");
    if (before->second != stamp) fail(name, "changed");
  }
  for (const auto& [name, stamp] : seen->second)
    if (!stamps.contains(name)) fail(name, "was removed");
}

}  // namespace readback::checkpoint
