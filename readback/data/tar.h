// Archives of tar, read where they lie: headers are walked from one to the next, and contents are read when they are
// asked for. ustar, GNU's long names and pax's paths and sizes. Nothing is unpacked, and no link is followed.
#pragma once
#include <optional>
#include <string>

#include "readback/data/line_reader.h"
#include "readback/data/problems.h"

namespace readback::data {

struct TarMember {
  std::string name;
  int64_t header = 0;  // where it begins, with what belongs to it
  int64_t data = 0, size = 0;
};

class TarReader {
 public:
  // From `offset` on, where a header is. `file` must outlive it.
  explicit TarReader(const RandomFile& file, int64_t offset = 0) : file_(&file), next_(offset) {}

  // The next regular file. Nothing at the end, and where the archive is cut or damaged, which `problems` is told.
  std::optional<TarMember> next(Problems& problems);
  int64_t offset() const { return next_; }

 private:
  std::string where(int64_t offset) const;
  const RandomFile* file_;
  int64_t next_;
};

}  // namespace readback::data
