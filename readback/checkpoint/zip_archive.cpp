#include "readback/checkpoint/zip_archive.h"

#include <algorithm>
#include <cstring>

#include "readback/base/error.h"

namespace readback::checkpoint {

namespace {

constexpr uint32_t kLocalHeader = 0x04034b50, kCentralHeader = 0x02014b50, kEndOfDirectory = 0x06054b50;
constexpr uint32_t kEndOfDirectory64 = 0x06064b50, kLocator64 = 0x07064b50;
constexpr uint64_t kEndSize = 22, kLocatorSize = 20, kEnd64Size = 56, kMaxComment = 65535;

class Reader {
 public:
  Reader(std::string_view bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  [[noreturn]] void refuse(const std::string& got) const {
    throw CheckpointError(describe(where_, "a ZIP file of torch.save", got));
  }
  template <typename T>
  T at(uint64_t offset) const {
    T value;
    std::memcpy(&value, slice(offset, sizeof value).data(), sizeof value);
    return value;
  }
  std::string_view slice(uint64_t offset, uint64_t size) const {
    if (offset > bytes_.size() || size > bytes_.size() - offset) refuse("an offset outside of the file");
    return bytes_.substr(offset, size);
  }
  uint64_t size() const { return bytes_.size(); }

 private:
  std::string_view bytes_;
  const std::string& where_;
};

struct Directory {
  uint64_t offset, entries;
};

Directory find_directory(const Reader& file) {
  if (file.size() < kEndSize) file.refuse("a file too short for one");
  const uint64_t last = file.size() - kEndSize, first = last > kMaxComment ? last - kMaxComment : 0;
  uint64_t end = last;
  while (file.at<uint32_t>(end) != kEndOfDirectory) {
    if (end == first) file.refuse("no directory at its end: the file is truncated, or of another format");
    --end;
  }
  // ZIP64 puts the true numbers into a second record, which a locator just before this one points to.
  if (end >= kLocatorSize && file.at<uint32_t>(end - kLocatorSize) == kLocator64) {
    const uint64_t end64 = file.at<uint64_t>(end - kLocatorSize + 8);
    if (file.slice(end64, kEnd64Size).empty() || file.at<uint32_t>(end64) != kEndOfDirectory64)
      file.refuse("a damaged ZIP64 directory");
    return {file.at<uint64_t>(end64 + 48), file.at<uint64_t>(end64 + 32)};
  }
  return {file.at<uint32_t>(end + 16), file.at<uint16_t>(end + 10)};
}

// Replaces those of size, compressed size and offset that read 0xFFFFFFFF by their values in the ZIP64 extra field.
void read_extra64(const Reader& file, uint64_t extra, uint64_t length, std::initializer_list<uint64_t*> values) {
  const uint64_t stop = extra + length;
  while (extra + 4 <= stop) {
    const uint16_t id = file.at<uint16_t>(extra), size = file.at<uint16_t>(extra + 2);
    if (id == 1) {
      uint64_t field = extra + 4;
      const uint64_t field_end = std::min<uint64_t>(field + size, stop);
      for (uint64_t* value : values) {
        if (*value != UINT32_MAX) continue;
        if (field + 8 > field_end) file.refuse("a damaged ZIP64 entry");
        *value = file.at<uint64_t>(field);
        field += 8;
      }
      return;
    }
    extra += 4 + uint64_t{size};
  }
}

}  // namespace

std::map<std::string, ZipRecord> read_zip_directory(std::string_view bytes, const std::string& where) {
  const Reader file(bytes, where);
  const Directory directory = find_directory(file);
  std::map<std::string, ZipRecord> records;
  uint64_t entry = directory.offset;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    if (file.at<uint32_t>(entry) != kCentralHeader) file.refuse("a damaged directory");
    const uint16_t flags = file.at<uint16_t>(entry + 8), method = file.at<uint16_t>(entry + 10);
    const uint16_t name_length = file.at<uint16_t>(entry + 28), extra_length = file.at<uint16_t>(entry + 30);
    const uint16_t comment_length = file.at<uint16_t>(entry + 32);
    uint64_t compressed = file.at<uint32_t>(entry + 20), size = file.at<uint32_t>(entry + 24);
    uint64_t local = file.at<uint32_t>(entry + 42);
    const std::string name(file.slice(entry + 46, name_length));
    read_extra64(file, entry + 46 + name_length, extra_length, {&size, &compressed, &local});
    entry += 46 + uint64_t{name_length} + extra_length + comment_length;
    if (method != 0 || compressed != size || (flags & 1) != 0)
      file.refuse("the record '" + name + "' compressed or encrypted, which torch.save does not do");
    if (file.slice(local, 30).empty() || file.at<uint32_t>(local) != kLocalHeader)
      file.refuse("the record '" + name + "' without a header");
    const uint64_t data = local + 30 + file.at<uint16_t>(local + 26) + file.at<uint16_t>(local + 28);
    file.slice(data, size);
    if (!records.emplace(name, ZipRecord{data, size}).second) file.refuse("the record '" + name + "' twice");
  }
  return records;
}

}  // namespace readback::checkpoint
