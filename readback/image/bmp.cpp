// Windows and OS/2 bitmaps. No well-kept library reads them as Pillow does, so this follows Pillow's BmpImagePlugin.
#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>

#include "readback/base/error.h"
#include "readback/image/formats.h"

namespace readback::image {
namespace {

constexpr uint32_t kFileHeader = 14;
enum Compression : uint32_t { kRaw = 0, kRle8 = 1, kRle4 = 2, kBitFields = 3 };

// Little-endian numbers and pieces of the file; reading past the end is an error.
class Bytes {
 public:
  Bytes(std::string_view bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  std::string_view piece(uint64_t offset, uint64_t size) const {
    if (offset > bytes_.size() || size > bytes_.size() - offset) fail("a whole BMP file", "the file is truncated");
    return bytes_.substr(offset, size);
  }
  uint32_t number(uint64_t offset, int size) const {
    uint32_t value = 0;
    const std::string_view digits = piece(offset, static_cast<uint64_t>(size));
    for (int i = 0; i < size; ++i) value |= uint32_t{static_cast<uint8_t>(digits[i])} << 8 * i;
    return value;
  }
  std::string_view rest(uint64_t offset) const { return piece(offset, bytes_.size() - std::min(offset, size())); }
  uint64_t size() const { return bytes_.size(); }
  [[noreturn]] void fail(const std::string& expected, const std::string& got) const {
    throw DataError(describe(name_, expected, got, expected.starts_with("a whole") ? "" : "Save it as PNG"));
  }

 private:
  std::string_view bytes_;
  const std::string& name_;
};

struct Header {
  int64_t width = 0, height = 0;
  bool top_down = false;
  uint32_t bits = 0, compression = kRaw;
  int64_t colors = 0;                // entries of the palette
  uint64_t color_bytes = 4;          // of an entry
  uint64_t palette = 0, pixels = 0;  // where they begin
  std::array<uint32_t, 4> masks{};   // red, green, blue, alpha; of bit fields
};

// Bit fields: the masks stand behind a header of 40 bytes and inside of a longer one, an alpha mask from 56 bytes on.
void read_masks(const Bytes& bytes, uint32_t header_size, Header& header) {
  for (int i = 0; i < 3; ++i) header.masks[i] = bytes.number(kFileHeader + 40 + 4 * i, 4);
  if (header_size >= 56) header.masks[3] = bytes.number(kFileHeader + 52, 4);
  // Some programs leave them out; then the order is the usual one, with alpha.
  if (header.bits == 32 && header.masks == std::array<uint32_t, 4>{})
    header.masks = {0xFF0000, 0xFF00, 0xFF, 0xFF000000};
}

Header read_header(const Bytes& bytes) {
  constexpr std::array kSizes = {12U, 40U, 52U, 56U, 64U, 108U, 124U};
  const uint32_t size = bytes.number(kFileHeader, 4);
  if (std::find(kSizes.begin(), kSizes.end(), size) == kSizes.end()) {
    bytes.fail("a BMP file with a header of 12, 40, 52, 56, 64, 108 or 124 bytes", std::to_string(size));
  }
  bytes.piece(kFileHeader, size);
  Header header;
  uint64_t end = kFileHeader + size;
  if (size == 12) {
    header.width = bytes.number(18, 2);
    header.height = bytes.number(20, 2);
    header.bits = bytes.number(24, 2);
    header.color_bytes = 3;
  } else {
    header.width = bytes.number(18, 4);
    const uint32_t height = bytes.number(22, 4);
    header.top_down = height >> 24 == 0xFF;
    header.height = header.top_down ? (int64_t{1} << 32) - height : int64_t{height};
    header.bits = bytes.number(28, 2);
    header.compression = bytes.number(30, 4);
    header.colors = bytes.number(46, 4);
    if (header.compression == kBitFields) {
      read_masks(bytes, size, header);
      if (size == 40) end += 12;
    }
  }
  header.palette = end;
  header.pixels = bytes.number(10, 4);
  if (header.bits > 8) {
    if (header.pixels == 0) header.pixels = end;
    return header;
  }
  if (header.colors == 0) header.colors = int64_t{1} << header.bits;
  if (header.colors > 65536) bytes.fail("a BMP file of at most 65536 colours", std::to_string(header.colors));
  const uint64_t palette_end = end + header.color_bytes * static_cast<uint64_t>(header.colors);
  if (header.pixels == 0 || header.pixels == kFileHeader + size) header.pixels = palette_end;
  return header;
}

Palette read_palette(const Bytes& bytes, const Header& header) {
  Palette palette{};
  const std::string_view entries =
      bytes.piece(header.palette, header.color_bytes * static_cast<uint64_t>(header.colors));
  const int64_t used = std::min<int64_t>(header.colors, 256);
  for (int64_t i = 0; i < used; ++i) {
    for (size_t c = 0; c < 3; ++c) {
      palette[static_cast<size_t>(i)][c] =
          static_cast<uint8_t>(entries[static_cast<size_t>(i) * header.color_bytes + 2 - c]);
    }
  }
  return is_grey_ramp(palette, used) ? grey_ramp() : palette;
}

// Colour numbers of all pixels, in the file's order of rows.
std::vector<uint8_t> read_runs(std::string_view in, uint64_t first, const Header& header, const Bytes& bytes) {
  const auto width = static_cast<size_t>(header.width), all = width * static_cast<size_t>(header.height);
  const bool half = header.compression == kRle4;
  std::vector<uint8_t> out;
  out.reserve(all);
  size_t at = 0, x = 0;
  const auto add = [&](size_t count, uint8_t value) {
    out.insert(out.end(), std::min(count, all - out.size()), value);
  };
  while (out.size() < all) {
    if (at + 2 > in.size()) break;
    const size_t count = static_cast<uint8_t>(in[at]);
    const auto value = static_cast<uint8_t>(in[at + 1]);
    at += 2;
    if (count > 0) {  // a run, which ends with its row
      const size_t fits = x < width ? std::min(count, width - x) : 0;
      for (size_t i = 0; i < fits; ++i) add(1, half ? (i % 2 == 0 ? value >> 4 : value & 15) : value);
      x += fits;
    } else if (value == 0) {  // the end of a row
      add((width - out.size() % width) % width, 0);
      x = 0;
    } else if (value == 1) {  // the end of the picture
      break;
    } else if (value == 2) {  // a step to the right and up
      if (at + 2 > in.size()) break;
      add(static_cast<uint8_t>(in[at]) + static_cast<uint8_t>(in[at + 1]) * width, 0);
      at += 2;
      x = out.size() % width;
    } else {  // that many pixels as they are
      const size_t pixels = std::min<size_t>(all - out.size(), value), size = half ? (pixels + 1) / 2 : pixels;
      if (at + size > in.size()) break;
      for (size_t i = 0; i < pixels; ++i) {
        const auto byte = static_cast<uint8_t>(in[at + (half ? i / 2 : i)]);
        out.push_back(half ? (i % 2 == 0 ? byte >> 4 : byte & 15) : byte);
      }
      at += size;
      x += value;
      at += (first + at) % 2;  // an even place in the file
    }
  }
  if (out.size() < all) bytes.fail("a whole BMP file", "too few pixels");
  return out;
}

// One bit field of a pixel, spread over 0 … 255.
uint8_t field(uint32_t pixel, uint32_t mask) {
  if (mask == 0) return 0;
  const int shift = std::countr_zero(mask);
  return static_cast<uint8_t>(uint64_t{(pixel & mask) >> shift} * 255 / (mask >> shift));
}

void read_colors(const Header& header, const std::string_view row, uint8_t* rgb, uint8_t* alpha) {
  const size_t size = header.bits / 8;
  for (int64_t x = 0; x < header.width; ++x) {
    uint32_t pixel = 0;
    for (size_t i = 0; i < size; ++i) {
      pixel |= uint32_t{static_cast<uint8_t>(row[static_cast<size_t>(x) * size + i])} << 8 * i;
    }
    for (size_t c = 0; c < 3; ++c) rgb[x * 3 + static_cast<int64_t>(c)] = field(pixel, header.masks[c]);
    if (alpha != nullptr) alpha[x] = field(pixel, header.masks[3]);
  }
}

void read_indices(const Header& header, const std::string_view row, uint8_t* indices) {
  const auto bits = static_cast<int64_t>(header.bits);
  for (int64_t x = 0; x < header.width; ++x) {
    const auto byte = static_cast<uint8_t>(row[static_cast<size_t>(x * bits / 8)]);
    indices[x] = static_cast<uint8_t>(byte >> (8 - bits - x * bits % 8)) & ((1 << bits) - 1);
  }
}

}  // namespace

bool is_bmp(std::string_view bytes) { return bytes.starts_with("BM"); }

DecodedFile decode_bmp(std::string_view data, const std::string& name) {
  const Bytes bytes(data, name);
  Header header = read_header(bytes);
  check_size(header.width, header.height, name);
  const uint32_t bits = header.bits;
  if (bits != 1 && bits != 4 && bits != 8 && bits != 16 && bits != 24 && bits != 32) {
    bytes.fail("a BMP file of 1, 4, 8, 16, 24 or 32 bits a pixel", std::to_string(bits));
  }
  const bool runs = header.compression == kRle8 || header.compression == kRle4;
  const bool fields = header.compression == kBitFields && bits >= 16;
  if ((header.compression != kRaw && !runs && !fields) || (runs && bits != (header.compression == kRle4 ? 4 : 8))) {
    bytes.fail("a BMP file that is raw, RLE or of bit fields", "compression " + std::to_string(header.compression));
  }
  if (!fields && bits == 16) header.masks = {0x7C00, 0x3E0, 0x1F, 0};
  if (!fields && bits > 16) header.masks = {0xFF0000, 0xFF00, 0xFF, 0};

  const std::optional<Palette> palette = bits <= 8 ? std::optional(read_palette(bytes, header)) : std::nullopt;
  const auto width = static_cast<uint64_t>(header.width), height = static_cast<uint64_t>(header.height);
  const uint64_t stride = runs ? width : (width * bits + 31) / 32 * 4;
  std::vector<uint8_t> decoded;
  std::string_view pixels;
  if (runs) {
    decoded = read_runs(bytes.rest(header.pixels), header.pixels, header, bytes);
    pixels = {reinterpret_cast<const char*>(decoded.data()), decoded.size()};
  } else {
    pixels = bytes.piece(header.pixels, (height - 1) * stride + (width * bits + 7) / 8);
  }

  DecodedFile file;
  file.image = Image(header.width, header.height);
  if (header.masks[3] != 0) file.alpha.resize(width * height);
  for (uint64_t row = 0; row < height; ++row) {
    const uint64_t y = header.top_down ? row : height - 1 - row;
    uint8_t* target = file.image.at(0, static_cast<int64_t>(y));
    const std::string_view source = pixels.substr(row * stride, stride);
    if (!palette) {
      read_colors(header, source, target, file.alpha.empty() ? nullptr : file.alpha.data() + y * width);
    } else if (runs) {
      std::memcpy(target, source.data(), width);
    } else {
      read_indices(header, source, target);
    }
  }
  if (palette) expand_palette(file.image, *palette);
  return file;
}

}  // namespace readback::image
