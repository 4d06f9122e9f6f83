// Whole-file reading and atomic writing.
#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace readback {

// Errors: DataError (or CheckpointError, as the caller wraps it) naming the path and the system's reason.
std::string read_file(const std::filesystem::path& path);
nlohmann::json read_json(const std::filesystem::path& path);

// Written beside the target; commit() syncs and renames, so a full disk or a kill leaves the old file whole.
// Without commit() nothing changes. Makes the folder. Errors: StoreError.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  void append(std::string_view bytes);
  void commit();

 private:
  [[noreturn]] void fail(int error);
  std::filesystem::path path_, partial_;
  int file_ = -1;
};

// All of it at once through an AtomicFile. Errors: StoreError.
void write_file(const std::filesystem::path& path, std::string_view bytes);

// The same bytes as `source`'s, whatever its size. Errors: DataError (source), StoreError.
void write_copy(const std::filesystem::path& path, const std::filesystem::path& source);

}  // namespace readback
