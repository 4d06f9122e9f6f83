#include "readback/base/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "readback/base/error.h"

namespace readback {

namespace fs = std::filesystem;

std::string read_file(const fs::path& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) throw DataError(describe(path.string(), "a file", "a folder"));
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw DataError(describe(path.string(), "a readable file", std::strerror(errno)));
  std::ostringstream bytes;
  bytes << stream.rdbuf();
  return std::move(bytes).str();
}

nlohmann::json read_json(const fs::path& path) {
  try {
    return nlohmann::json::parse(read_file(path));
  } catch (const nlohmann::json::exception& error) {
    throw DataError(describe(path.string(), "JSON", error.what()));
  }
}

void write_file(const fs::path& path, std::string_view bytes) {
  if (path.has_parent_path()) {
    std::error_code error;
    fs::create_directories(path.parent_path(), error);
    if (error) throw StoreError(describe(path.parent_path().string(), "a folder that can be made", error.message()));
  }
  const fs::path partial = path.string() + ".partial";
  const int file = ::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  const auto fail = [&](int error) {
    if (file >= 0) ::close(file);
    ::unlink(partial.c_str());
    throw StoreError(describe(path.string(), "to be written", std::strerror(error),
                              error == ENOSPC ? "Free some space and start again; what was there before is untouched"
                                              : ""));
  };
  if (file < 0) fail(errno);
  for (size_t written = 0; written < bytes.size();) {
    const ssize_t count = ::write(file, bytes.data() + written, bytes.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(errno);
    written += static_cast<size_t>(count);
  }
  if (::fsync(file) != 0) fail(errno);
  ::close(file);
  if (::rename(partial.c_str(), path.c_str()) != 0) fail(errno);
}

}  // namespace readback
