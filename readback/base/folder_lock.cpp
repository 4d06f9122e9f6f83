#include "readback/base/folder_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "readback/base/error.h"

namespace readback {

FolderLock::FolderLock(const std::filesystem::path& path) {
  file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file_ < 0) throw StoreError(describe(path.string(), "to be written", std::strerror(errno)));
  if (::flock(file_, LOCK_EX | LOCK_NB) != 0) {
    const int reason = errno;
    char holder[32] = {};
    const ssize_t read = ::pread(file_, holder, sizeof(holder) - 1, 0);
    ::close(file_);
    if (reason != EWOULDBLOCK) throw StoreError(describe(path.string(), "to be locked", std::strerror(reason)));
    throw StoreError(describe(path.parent_path().string(), "a folder that nobody is writing",
                              read > 0 ? fmt::format("one in use by process {}", holder) : "one in use",
                              "Wait for it to end, or give another folder"));
  }
  const std::string own = std::to_string(::getpid());
  if (::ftruncate(file_, 0) != 0 || ::pwrite(file_, own.data(), own.size(), 0) < 0) {
    const int reason = errno;
    ::close(file_);
    throw StoreError(describe(path.string(), "to be written", std::strerror(reason)));
  }
}

FolderLock::~FolderLock() { ::close(file_); }

}  // namespace readback
