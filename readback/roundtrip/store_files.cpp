#include "readback/roundtrip/store_files.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "readback/base/error.h"
#include "readback/base/random.h"

namespace readback::roundtrip {

namespace fs = std::filesystem;

std::string file_stem(const std::string& sample) {
  constexpr size_t kLongest = 120;
  std::string stem;
  for (const char c : sample) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '_' || (c == '.' && !stem.empty());
    stem += plain ? std::string(1, c) : fmt::format("%{:02X}", byte);
  }
  if (stem.size() > kLongest) stem = stem.substr(0, kLongest) + fmt::format("%{:016x}", fnv1a(sample));
  return stem;
}

void write_without_sync(const fs::path& path, std::string_view bytes) {
  const fs::path partial = path.string() + ".partial";
  const auto attempt = [&] {
    std::FILE* file = std::fopen(partial.c_str(), "wb");
    if (!file) return errno;
    const bool written = std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
    const int write_error = errno;
    if (std::fclose(file) != 0) return errno;
    if (!written) return write_error;
    return ::rename(partial.c_str(), path.c_str()) == 0 ? 0 : errno;
  };
  if (const int error = attempt(); error != 0) {
    ::unlink(partial.c_str());
    throw StoreError(describe(path.string(), "to be written", std::strerror(error),
                              error == ENOSPC ? "Free some space and start again; what was committed is safe" : ""));
  }
}

void check_run_folder(const fs::path& folder) {
  std::error_code error;
  if (!fs::exists(folder, error)) return;
  if (!fs::is_directory(folder, error)) throw StoreError(describe(folder.string(), "a folder", "a file"));
  if (fs::exists(folder / "run.json", error)) return;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("run.")) {
      throw StoreError(describe(folder.string(), "an empty folder or one that holds a run", "\"" + name + "\" in it",
                                "Choose another output folder"));
    }
  }
}

}  // namespace readback::roundtrip
