#include "readback/base/file_digest.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <sstream>
#include <vector>

#include "readback/base/cache.h"
#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/folder_lock.h"
#include "readback/base/sha256.h"

namespace readback {

namespace fs = std::filesystem;

namespace {

const std::string kKind = "sha256:";
constexpr uint64_t kRemembered = 8 << 20;  // bytes; smaller files are read in a moment
constexpr size_t kDigits = 64, kCheckDigits = 16;
constexpr size_t kMostLines = 4096;
// File systems count time in steps of up to two seconds. Of a file that was written less than that ago a later write
// may leave the same stamp.
constexpr std::chrono::seconds kSettled{2};

FileStamp stamp_of(const struct stat& status) {
  const auto nanoseconds = [](const timespec& time) { return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec; };
  return {static_cast<uint64_t>(status.st_size), nanoseconds(status.st_mtim), nanoseconds(status.st_ctim),
          static_cast<uint64_t>(status.st_ino), static_cast<uint64_t>(status.st_dev)};
}

class OpenFile {
 public:
  explicit OpenFile(fs::path path) : path_(std::move(path)), file_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (file_ < 0) fail(std::strerror(errno));
  }
  OpenFile(const OpenFile&) = delete;
  ~OpenFile() { ::close(file_); }

  FileStamp stamp() const {
    struct stat status {};
    if (::fstat(file_, &status) != 0) fail(std::strerror(errno));
    if (!S_ISREG(status.st_mode)) fail("something else");
    return stamp_of(status);
  }

  std::string sha256() const {
    Sha256 sum;
    std::vector<char> bytes(size_t{1} << 20);
    for (;;) {
      const ssize_t count = ::read(file_, bytes.data(), bytes.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) fail(std::strerror(errno));
      if (count == 0) return sum.hex();
      sum.add({bytes.data(), static_cast<size_t>(count)});
    }
  }

 private:
  [[noreturn]] void fail(const std::string& got) const {
    throw DataError(describe(path_.string(), "a readable file", got));
  }
  fs::path path_;
  int file_;
};

// What was computed before. A line is: digest of the canonical path, stamp, digest of the contents, check of the line.
class Memory {
 public:
  Memory(const fs::path& path, const FileStamp& stamp)
      : path_(sha256_hex(path.string())),
        key_(fmt::format("{} {} {} {} {} {} ", path_, stamp.size, stamp.modified, stamp.changed, stamp.inode,
                         stamp.device)) {}

  std::string find() const {
    for (const std::string& line : lines()) {
      if (line.starts_with(key_)) return line.substr(key_.size(), kDigits);
    }
    return "";
  }

  // Only one process at a time writes. What another one keeps it from writing is computed again next time.
  void add(const std::string& digest) const {
    std::error_code error;
    fs::create_directories(file_.parent_path(), error);
    try {
      const FolderLock lock(file_.parent_path() / "digests.lock");
      std::vector<std::string> kept = lines();
      std::erase_if(kept, [this](const std::string& line) { return line.starts_with(path_); });
      if (kept.size() >= kMostLines) kept.erase(kept.begin(), kept.end() - (kMostLines - 1));
      kept.push_back(key_ + digest + " " + check_of(key_ + digest));
      std::string text;
      for (const std::string& line : kept) text += line + "\n";
      write_file(file_, text);
    } catch (const StoreError&) {
      return;
    }
  }

 private:
  static std::string check_of(const std::string& text) { return sha256_hex(text).substr(0, kCheckDigits); }

  std::vector<std::string> lines() const {
    std::vector<std::string> whole;
    try {
      std::istringstream stream(read_file(file_));
      for (std::string line; std::getline(stream, line);) {
        const size_t end = line.size() - std::min(line.size(), kCheckDigits + 1);
        if (end > kDigits && line.substr(end + 1) == check_of(line.substr(0, end))) whole.push_back(line);
      }
    } catch (const DataError&) {
      return {};
    }
    return whole;
  }

  fs::path file_ = cache_folder() / "digests.txt";
  std::string path_, key_;
};

// The name of a blob of a Hugging Face hub cache, to which the files of a snapshot are links, when it is the contents'
// SHA-256. Small files' blobs are named by git's digest, which is another.
std::string named_digest(const fs::path& path, const fs::path& canonical) {
  const std::string name = canonical.filename().string();
  const bool is_digest = name.size() == kDigits && name.find_first_not_of("0123456789abcdef") == std::string::npos;
  std::error_code error;
  return is_digest && canonical.parent_path().filename() == "blobs" && fs::is_symlink(path, error) ? name : "";
}

bool is_settled(const FileStamp& stamp) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return now - std::chrono::nanoseconds(std::max(stamp.modified, stamp.changed)) > kSettled;
}

}  // namespace

FileStamp file_stamp(const fs::path& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) throw DataError(describe(path.string(), "a file", std::strerror(errno)));
  return stamp_of(status);
}

std::string file_digest(const fs::path& path) {
  std::error_code error;
  const fs::path canonical = fs::canonical(path, error);
  if (error) throw DataError(describe(path.string(), "a readable file", error.message()));
  if (const std::string named = named_digest(path, canonical); !named.empty()) return kKind + named;

  const OpenFile file(canonical);
  const FileStamp stamp = file.stamp();
  const Memory memory(canonical, stamp);
  const bool remembered = stamp.size >= kRemembered;
  if (remembered) {
    if (const std::string known = memory.find(); !known.empty()) return kKind + known;
  }
  const bool settled = is_settled(stamp);
  const std::string digest = file.sha256();
  if (file.stamp() != stamp) {
    throw DataError(describe(path.string(), "a file that nobody writes", "one that changed while it was read",
                             "Start again when it is complete"));
  }
  if (remembered && settled) memory.add(digest);
  return kKind + digest;
}

}  // namespace readback
