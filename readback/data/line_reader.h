// The lines of a file of any size, in constant memory and from any place on.
#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace readback::data {

// A file that is read in pieces, from anywhere; several threads may.
class RandomFile {
 public:
  // Errors: DataError (missing, a folder, unreadable).
  explicit RandomFile(std::filesystem::path path);
  ~RandomFile();
  RandomFile(const RandomFile&) = delete;
  RandomFile& operator=(const RandomFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  int64_t size() const { return size_; }
  // Up to `count` bytes from `offset` on; fewer only at the end. Errors: DataError.
  std::string read(int64_t offset, int64_t count) const;

 private:
  std::filesystem::path path_;
  int file_;
  int64_t size_ = 0;
};

class LineReader {
 public:
  static constexpr int64_t kMostBytes = 16 << 20;  // of a line

  // From `offset` on, where line `number` begins. `file` must outlive it.
  explicit LineReader(const RandomFile& file, int64_t offset = 0, int64_t number = 1)
      : file_(&file), read_(offset), next_offset_(offset), next_number_(number) {}

  // False at the end. A line ends with LF or CRLF, the last one also with the file. The byte-order mark of UTF-8 is no
  // part of the first. A line of more than kMostBytes is cut to none and is_too_long().
  bool next();
  std::string_view line() const { return line_; }
  int64_t number() const { return number_; }  // from 1 on
  int64_t offset() const { return offset_; }  // where it begins
  int64_t next_offset() const { return next_offset_; }
  int64_t next_number() const { return next_number_; }
  bool is_too_long() const { return too_long_; }
  bool is_ended() const { return ended_; }  // by a line end, not by the end of the file

 private:
  const RandomFile* file_;
  std::string buffer_;
  size_t used_ = 0;  // of the buffer
  int64_t read_;     // where the bytes behind the buffer are
  std::string line_;
  int64_t offset_ = 0, number_ = 0, next_offset_, next_number_;
  bool too_long_ = false, ended_ = false;
};

}  // namespace readback::data
