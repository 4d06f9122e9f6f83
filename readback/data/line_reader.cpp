#include "readback/data/line_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "readback/base/error.h"

namespace readback::data {

RandomFile::RandomFile(std::filesystem::path path)
    : path_(std::move(path)), file_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC)) {
  struct stat status {};
  if (file_ < 0 || ::fstat(file_, &status) != 0 || S_ISDIR(status.st_mode)) {
    const std::string reason = file_ >= 0 && S_ISDIR(status.st_mode) ? "a folder" : std::strerror(errno);
    if (file_ >= 0) ::close(file_);
    throw DataError(describe(path_.string(), "a readable file", reason));
  }
  size_ = status.st_size;
}

RandomFile::~RandomFile() { ::close(file_); }

std::string RandomFile::read(int64_t offset, int64_t count) const {
  std::string bytes(static_cast<size_t>(std::max<int64_t>(std::min(count, size_ - offset), 0)), '\0');
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t got = ::pread(file_, bytes.data() + done, bytes.size() - done, offset + static_cast<int64_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw DataError(describe(path_.string(), "a readable file", std::strerror(errno)));
    if (got == 0) break;  // cut meanwhile
    done += static_cast<size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

bool LineReader::next() {
  constexpr int64_t kPiece = 1 << 16;
  constexpr std::string_view kMark = "\xEF\xBB\xBF";
  line_.clear();
  too_long_ = ended_ = false;
  offset_ = next_offset_;
  number_ = next_number_;
  while (!ended_) {
    if (used_ == buffer_.size()) {
      buffer_ = file_->read(read_, kPiece);
      read_ += std::ssize(buffer_);
      used_ = 0;
      if (buffer_.empty()) break;
    }
    const size_t end = buffer_.find('\n', used_), stop = std::min(end, buffer_.size());
    ended_ = end != std::string::npos;
    if (!too_long_) line_.append(buffer_, used_, stop - used_);
    if (std::ssize(line_) > kMostBytes) {
      too_long_ = true;
      line_.clear();
    }
    next_offset_ += static_cast<int64_t>(stop - used_) + (ended_ ? 1 : 0);
    used_ = stop + (ended_ ? 1 : 0);
  }
  if (next_offset_ == offset_) return false;
  ++next_number_;
  if (line_.ends_with('\r')) line_.pop_back();
  if (offset_ == 0 && line_.starts_with(kMark)) line_.erase(0, kMark.size());
  return true;
}

}  // namespace readback::data
