// One process at a time writes a folder.
#pragma once
#include <filesystem>

namespace readback {

// flock on a file for as long as it lives; ends with the process, however that ends.
class FolderLock {
 public:
  // Makes the file. Errors: StoreError when another process holds it (its id is in the message).
  explicit FolderLock(const std::filesystem::path& path);
  FolderLock(const FolderLock&) = delete;
  ~FolderLock();

 private:
  int file_ = -1;
};

}  // namespace readback
