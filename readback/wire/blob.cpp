#include "readback/wire/blob.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "readback/base/error.h"

namespace readback::wire {

namespace fs = std::filesystem;

namespace {

void make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) throw StoreError(describe(path.string(), "a folder that can be made", error.message()));
}

}  // namespace

BlobLock::BlobLock(const fs::path& path, const Context& context) {
  make_folder(path.parent_path());
  file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file_ < 0) throw StoreError(describe(path.string(), "a file that can be made", std::strerror(errno)));
  bool said = false;
  while (::flock(file_, LOCK_EX | LOCK_NB) != 0) {
    if (context.stopped()) ::close(file_);
    context.check();
    if (!said) context.progress().note("another program pulls " + path.stem().string() + ": waiting for it");
    said = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
}
BlobLock::~BlobLock() { ::close(file_); }

Blob::Blob(fs::path path, int64_t size)
    : path_(std::move(path)), partial_(path_.string() + ".incomplete"), size_(size) {
  std::error_code error;
  if (fs::is_regular_file(path_, error) && static_cast<int64_t>(fs::file_size(path_, error)) == size) return;
  make_folder(path_.parent_path());
  file_ = ::open(partial_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file_ < 0) fail(errno);
  struct stat about {};
  if (::fstat(file_, &about) != 0) fail(errno);
  begun_ = about.st_size;
  if (begun_ > size_) restart();
}
Blob::~Blob() {
  if (file_ >= 0) ::close(file_);
}

void Blob::fail(int reason) const {
  throw StoreError(describe(path_.string(), "to be written", std::strerror(reason),
                            reason == ENOSPC ? "Free some space and start again: it goes on where it stopped" : ""));
}

void Blob::restart() {
  if (::ftruncate(file_, 0) != 0) fail(errno);
  begun_ = 0;
}

bool Blob::append(std::string_view bytes) {
  first_ = false;
  if (begun_ + std::ssize(bytes) > size_) {
    begun_ = size_ + 1;  // another file
    return false;
  }
  while (!bytes.empty()) {
    const ssize_t count = ::write(file_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      reason_ = errno;
      return false;
    }
    begun_ += count;
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

void Blob::expect_space() const {
  if (reason_ != 0) fail(reason_);
}

std::string Blob::digest(size_t digits) const {
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  EVP_DigestInit_ex(context.get(), digits == 64 ? EVP_sha256() : EVP_sha1(), nullptr);
  if (digits != 64) {
    const std::string header = fmt::format("blob {}", begun_);
    EVP_DigestUpdate(context.get(), header.c_str(), header.size() + 1);  // its zero, too
  }
  std::vector<char> bytes(size_t{1} << 20);
  for (off_t at = 0;;) {
    const ssize_t count = ::pread(file_, bytes.data(), bytes.size(), at);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(errno);
    if (count == 0) break;
    EVP_DigestUpdate(context.get(), bytes.data(), static_cast<size_t>(count));
    at += count;
  }
  unsigned char value[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  EVP_DigestFinal_ex(context.get(), value, &size);
  std::string hex;
  for (unsigned i = 0; i < size; ++i) hex += fmt::format("{:02x}", value[i]);
  return hex;
}

void Blob::commit() {
  if (::fsync(file_) != 0) fail(errno);
  if (::rename(partial_.c_str(), path_.c_str()) != 0) fail(errno);
}

}  // namespace readback::wire
