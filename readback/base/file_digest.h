// What a file contains, as a short text that is the same wherever the file lies.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

namespace readback {

// Changes with a file's contents, without reading them. Times in nanoseconds.
struct FileStamp {
  uint64_t size = 0;
  int64_t modified = 0, changed = 0;  // contents; contents, owner, name …
  uint64_t inode = 0, device = 0;
  bool operator==(const FileStamp&) const = default;
};
FileStamp file_stamp(const std::filesystem::path& path);  // Errors: DataError

// "sha256:" and 64 hexadecimal digits over every byte. Of a file of 8 MiB and more it is computed once (0.7 GB/s and
// more) and remembered in cache_folder()/digests.txt for its canonical path and stamp; where that file is damaged or
// cannot be written, it is computed again. A link into a Hugging Face hub cache whose blob is named by its SHA-256 is
// not read. Errors: DataError when the file cannot be read, or when it changes meanwhile.
std::string file_digest(const std::filesystem::path& path);

}  // namespace readback
