#include "readback/score/text/meteor/archive.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cstdint>

#include "readback/base/error.h"

namespace readback::score {

namespace {

constexpr int kGzip = MAX_WBITS + 16, kRaw = -MAX_WBITS;

[[noreturn]] void fail(const std::string& where, const std::string& expected, const std::string& got) {
  throw DataError(describe(where, expected, got));
}

std::string inflate_all(std::string_view bytes, int window_bits, const std::string& where) {
  z_stream stream{};
  if (inflateInit2(&stream, window_bits) != Z_OK) fail(where, "zlib to start", "an error");
  std::string result;
  std::string block(1 << 20, '\0');
  int status = Z_OK;
  while (status == Z_OK) {
    if (stream.avail_in == 0 && !bytes.empty()) {
      const size_t count = std::min<size_t>(bytes.size(), 1 << 30);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
      stream.avail_in = static_cast<uInt>(count);
      bytes.remove_prefix(count);
    }
    stream.next_out = reinterpret_cast<Bytef*>(block.data());
    stream.avail_out = static_cast<uInt>(block.size());
    status = inflate(&stream, Z_NO_FLUSH);
    result.append(block, 0, block.size() - stream.avail_out);
  }
  inflateEnd(&stream);
  if (status != Z_STREAM_END)
    fail(where, "whole compressed data", status == Z_BUF_ERROR ? "its beginning" : "an error");
  return result;
}

// Little-endian numbers at a place in the file.
uint32_t read_number(std::string_view bytes, size_t at, size_t size, const std::string& where) {
  if (at > bytes.size() || size > bytes.size() - at) fail(where, "a whole zip file", "one that was cut off");
  uint32_t value = 0;
  for (size_t i = 0; i < size; ++i) value |= static_cast<uint32_t>(static_cast<uint8_t>(bytes[at + i])) << (8 * i);
  return value;
}

}  // namespace

std::string gunzip(std::string_view bytes, const std::string& where) { return inflate_all(bytes, kGzip, where); }

// Layouts and numbers: PKWARE's APPNOTE, sections 4.3.7 (local header), 4.3.12 (directory), 4.3.16 (its end).
std::string read_zip_member(std::string_view zip, std::string_view member, const std::string& where) {
  const auto number = [&](size_t at, size_t size) { return read_number(zip, at, size, where); };
  const size_t end = zip.rfind("PK\x05\x06");
  if (end == std::string_view::npos) fail(where, "a zip file", "no directory in it");
  number(end + 20, 2);  // the end is whole
  size_t entry = number(end + 16, 4);
  for (uint32_t left = number(end + 10, 2); left > 0; --left) {
    if (number(entry, 4) != 0x02014b50) fail(where, "a zip directory", fmt::format("none at byte {}", entry));
    const size_t name_size = number(entry + 28, 2);
    if (name_size <= zip.size() - entry && zip.substr(entry + 46).substr(0, name_size) != member) {
      entry += 46 + name_size + number(entry + 30, 2) + number(entry + 32, 2);
      continue;
    }
    const std::string place = fmt::format("{}, member {}", where, member);
    const uint32_t method = number(entry + 10, 2), checksum = number(entry + 16, 4), size = number(entry + 20, 4);
    const size_t local = number(entry + 42, 4);
    const size_t begin = local + 30 + number(local + 26, 2) + number(local + 28, 2);
    if (begin > zip.size() || size > zip.size() - begin) fail(place, "its bytes", "a file that was cut off");
    if (method != 0 && method != 8) fail(place, "stored or deflated data", fmt::format("method {}", method));
    const std::string_view bytes = zip.substr(begin, size);
    std::string result = method == 0 ? std::string(bytes) : inflate_all(bytes, kRaw, place);
    const uint32_t found =
        static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(result.data()), result.size()));
    if (found != checksum) fail(place, fmt::format("checksum {:08x}", checksum), fmt::format("{:08x}", found));
    return result;
  }
  fail(where, fmt::format("member {}", member), "none of that name");
}

}  // namespace readback::score
