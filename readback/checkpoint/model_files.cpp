#include "readback/checkpoint/model_files.h"

#include <fmt/format.h>

#include "readback/base/error.h"

namespace readback::checkpoint {

namespace fs = std::filesystem;

namespace {

bool is_text(const fs::path& file) { return file.extension() == ".json" || file.extension() == ".txt"; }

bool belongs_to_model(const fs::path& file) {
  return is_text(file) || file.extension() == ".safetensors" || file.extension() == ".bin";
}

void expect_readable(const fs::path& folder, const std::error_code& error) {
  if (error) throw CheckpointError(describe(folder.string(), "a readable folder", error.message()));
}

}  // namespace

FileList files_of_model(const fs::path& folder) {
  FileList files;
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
  expect_readable(folder, error);
  return files;
}

FileList texts_of_folder(const fs::path& folder) {
  FileList files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(".") && is_text(entry.path()) && entry.is_regular_file()) files[name] = entry.path();
  }
  expect_readable(folder, error);
  return files;
}

std::string summary_of_files(const FileList& files) {
  std::string summary;
  try {
    for (const auto& [name, path] : files)
      summary += fmt::format("{}\n{} {}\n", name, fs::file_size(path), file_digest(path));
  } catch (const DataError& error) {
    throw CheckpointError(error.what());
  }
  return summary;
}

void UnchangedFiles::check(const fs::path& where, const FileList& files) {
  std::map<std::string, FileStamp> stamps;
  try {
    for (const auto& [name, path] : files) stamps[name] = file_stamp(path);
  } catch (const DataError& error) {
    throw CheckpointError(error.what());
  }
  const std::lock_guard lock(mutex_);
  const auto [seen, is_first] = first_.try_emplace(where, stamps);
  if (is_first || seen->second == stamps) return;
  const auto fail = [&](const std::string& file, const char* what) {
    throw CheckpointError(describe(where.string(), "a model that stays as it is while it is read",
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
