#include "readback/base/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "readback/base/error.h"
#include "readback/base/lines.h"

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
    return nlohmann::json::parse(read_text(path));
  } catch (const nlohmann::json::exception& error) {
    throw DataError(describe(path.string(), "JSON", error.what()));
  }
}

AtomicFile::AtomicFile(fs::path path) : path_(std::move(path)), partial_(path_.string() + ".partial") {
  if (path_.has_parent_path()) {
    std::error_code error;
    fs::create_directories(path_.parent_path(), error);
    if (error) throw StoreError(describe(path_.parent_path().string(), "a folder that can be made", error.message()));
  }
  file_ = ::open(partial_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file_ < 0) fail(errno);
}

AtomicFile::~AtomicFile() {
  if (file_ < 0) return;
  ::close(file_);
  ::unlink(partial_.c_str());
}

void AtomicFile::fail(int error) {
  throw StoreError(
      describe(path_.string(), "to be written", std::strerror(error),
               error == ENOSPC ? "Free some space and start again; what was there before is untouched" : ""));
}

void AtomicFile::append(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(file_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(errno);
    bytes.remove_prefix(static_cast<size_t>(count));
  }
}

void AtomicFile::commit() {
  if (::fsync(file_) != 0) fail(errno);
  if (::rename(partial_.c_str(), path_.c_str()) != 0) fail(errno);
  ::close(file_);
  file_ = -1;
}

void write_copy(const fs::path& path, const fs::path& source) {
  std::ifstream stream(source, std::ios::binary);
  if (!stream) throw DataError(describe(source.string(), "a readable file", std::strerror(errno)));
  AtomicFile file(path);
  std::vector<char> bytes(size_t{1} << 20);
  while (stream.read(bytes.data(), static_cast<std::streamsize>(bytes.size())) || stream.gcount() > 0) {
    file.append({bytes.data(), static_cast<size_t>(stream.gcount())});
  }
  file.commit();
}

void write_file(const fs::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.append(bytes);
  file.commit();
}

}  // namespace readback
