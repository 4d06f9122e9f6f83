// The files that a model is made of: configurations and texts (.json, .txt) and weights (.safetensors, .bin) in a
// folder and below, but neither hidden ones nor a training's state.
#pragma once
#include <filesystem>
#include <map>
#include <mutex>
#include <string>

#include "readback/base/file_digest.h"

namespace readback::checkpoint {

// Names, sizes and contents of the folder's files, a line each. Errors: CheckpointError.
std::string summary_of_files(const std::filesystem::path& folder);

// Sees to it that what is read at several times is one model.
class UnchangedFiles {
 public:
  // Errors: CheckpointError when a file of `folder` came, went or changed since the first call for that folder.
  void check(const std::filesystem::path& folder);

 private:
  std::mutex mutex_;
  std::map<std::filesystem::path, std::map<std::string, FileStamp>> first_;  // by folder and file
};

}  // namespace readback::checkpoint
