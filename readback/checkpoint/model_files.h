// The files that a model is made of.
#pragma once
#include <filesystem>
#include <map>
#include <mutex>
#include <string>

#include "readback/base/file_digest.h"

namespace readback::checkpoint {

using FileList = std::map<std::string, std::filesystem::path>;  // by name, in order whatever the file system's

// Configurations and texts (.json, .txt) and weights (.safetensors, .bin) in the folder and below, but neither hidden
// ones nor a training's state. Errors: CheckpointError.
FileList files_of_model(const std::filesystem::path& folder);
// Configurations and texts in the folder itself. Errors: CheckpointError.
FileList texts_of_folder(const std::filesystem::path& folder);

// Names, sizes and contents, a line each. Errors: CheckpointError.
std::string summary_of_files(const FileList& files);

// Sees to it that what is read at several times is one model.
class UnchangedFiles {
 public:
  // Errors: CheckpointError when one of `files`, which belong to the model `where`, came, went or changed since the
  // first call for that model.
  void check(const std::filesystem::path& where, const FileList& files);

 private:
  std::mutex mutex_;
  std::map<std::filesystem::path, std::map<std::string, FileStamp>> first_;  // by model and file
};

}  // namespace readback::checkpoint
