#include "readback/data/tar.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "readback/base/error.h"

namespace readback::data {

namespace {

constexpr int64_t kBlock = 512;
constexpr int64_t kMostMeta = 1 << 20;  // bytes of a long name or of pax's records

std::string_view field(std::string_view header, size_t begin, size_t length) {
  const std::string_view text = header.substr(begin, length);
  return text.substr(0, text.find('\0'));
}

// Octal digits, or for large numbers GNU's base 256. Nothing where it is neither.
std::optional<int64_t> number(std::string_view text) {
  if (!text.empty() && (static_cast<unsigned char>(text[0]) & 0x80) != 0) {
    int64_t value = static_cast<unsigned char>(text[0]) & 0x7F;
    for (const char c : text.substr(1)) {
      if (value > (INT64_MAX >> 9)) return std::nullopt;
      value = value << 8 | static_cast<unsigned char>(c);
    }
    return value;
  }
  text = text.substr(0, text.find('\0'));
  const size_t begin = text.find_first_not_of(' ');
  if (begin == std::string_view::npos) return 0;
  text = text.substr(begin, text.find_last_not_of(' ') + 1 - begin);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 8);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

bool has_right_sum(std::string_view header) {
  int64_t sum = 8 * ' ';
  for (size_t i = 0; i < header.size(); ++i) {
    if (i < 148 || i >= 156) sum += static_cast<unsigned char>(header[i]);
  }
  return number(header.substr(148, 8)) == sum;
}

// pax: "LENGTH KEY=VALUE\n" one after the other.
void read_pax(std::string_view records, std::optional<std::string>& name, std::optional<int64_t>& size) {
  while (!records.empty()) {
    size_t length = 0;
    const auto [blank, error] = std::from_chars(records.data(), records.data() + records.size(), length);
    const auto digits = static_cast<size_t>(blank - records.data());
    if (error != std::errc() || length <= digits + 1 || length > records.size()) return;
    const std::string_view record = records.substr(digits + 1, length - digits - 2);
    if (record.starts_with("path=")) name = std::string(record.substr(5));
    if (record.starts_with("size=")) {
      int64_t value = 0;
      const std::string_view text = record.substr(5);
      if (std::from_chars(text.data(), text.data() + text.size(), value).ec == std::errc() && value >= 0) size = value;
    }
    records.remove_prefix(length);
  }
}

}  // namespace

std::string TarReader::where(int64_t offset) const {
  return fmt::format("{}, byte {}", file_->path().string(), offset);
}

std::optional<TarMember> TarReader::next(Problems& problems) {
  std::optional<std::string> long_name;
  std::optional<int64_t> long_size;
  TarMember member;
  member.header = next_;
  const auto stop = [&](Damage kind, int64_t offset, const std::string& expected, const std::string& got) {
    next_ = file_->size();
    problems.error(kind, describe(where(offset), expected, got));
    return std::nullopt;
  };
  while (next_ < file_->size()) {
    const std::string header = file_->read(next_, kBlock);
    if (std::ssize(header) < kBlock) return stop(Damage::kCutFile, next_, "a header of 512 bytes", "the file's end");
    if (std::ranges::all_of(header, [](char c) { return c == '\0'; })) {
      next_ = file_->size();
      return std::nullopt;
    }
    if (!has_right_sum(header)) {
      const bool zipped = header.starts_with("\x1F\x8B");
      return stop(Damage::kWrongStructure, next_, "a header of tar",
                  zipped ? "a compressed file. Unpack it with gunzip" : "other bytes");
    }
    const char type = header[156];
    const auto size = long_size ? long_size : number(std::string_view(header).substr(124, 12));
    const int64_t data = next_ + kBlock;
    if (!size) return stop(Damage::kWrongStructure, next_, "a size", "other bytes");
    if (*size > file_->size() - data) {
      return stop(Damage::kCutFile, next_, fmt::format("{} bytes of contents", *size), "the file's end");
    }
    const int64_t begin = next_;
    next_ = data + (*size + kBlock - 1) / kBlock * kBlock;
    if (type == 'L' || type == 'x') {
      if (*size > kMostMeta) return stop(Damage::kTooLarge, begin, "a name of at most 1 MiB", std::to_string(*size));
      const std::string contents = file_->read(data, *size);
      if (type == 'L') {
        long_name = contents.substr(0, contents.find('\0'));
      } else {
        read_pax(contents, long_name, long_size);
      }
      continue;
    }
    if (type == 'K' || type == 'g') continue;  // a link's target, defaults
    if (type == '0' || type == '\0' || type == '7') {
      const bool posix = std::string_view(header).substr(257, 6) == std::string_view("ustar\0", 6);
      const std::string_view prefix = posix ? field(header, 345, 155) : "";
      member.name = long_name ? *long_name
                              : std::string(prefix) + (prefix.empty() ? "" : "/") + std::string(field(header, 0, 100));
      member.data = data;
      member.size = *size;
      return member;
    }
    if (type != '5') {  // a folder needs no word
      problems.remark(Damage::kPathLeavesFolder,
                      describe(where(begin), "a regular file or a folder",
                               "a link, a device or a file with holes, which is passed over"));
    }
    long_name.reset();
    long_size.reset();
    member.header = next_;
  }
  return std::nullopt;
}

}  // namespace readback::data
