#include "readback/image/orientation.h"

#include <array>
#include <cstring>
#include <optional>

namespace readback::image {
namespace {

constexpr uint32_t kOrientationTag = 0x0112;
constexpr uint32_t kShort = 3, kLong = 4;

// Integers out of a TIFF block of either byte order; reading past the end gives nothing.
class TiffReader {
 public:
  explicit TiffReader(std::string_view bytes) : bytes_(bytes) {}

  bool read_byte_order() {
    const std::string_view order = bytes_.substr(0, 2);
    big_endian_ = order == "MM";
    return big_endian_ || order == "II";
  }

  std::optional<uint32_t> number(uint64_t offset, int size) const {
    if (offset + size > bytes_.size()) return std::nullopt;
    uint32_t value = 0;
    for (int i = 0; i < size; ++i) {
      const uint32_t byte = static_cast<uint8_t>(bytes_[offset + i]);
      value |= byte << 8 * (big_endian_ ? size - 1 - i : i);
    }
    return value;
  }

 private:
  std::string_view bytes_;
  bool big_endian_ = false;
};

std::optional<uint32_t> exif_orientation(std::string_view exif) {
  constexpr std::string_view kPrefix("Exif\0\0", 6);
  while (exif.starts_with(kPrefix)) exif.remove_prefix(kPrefix.size());
  TiffReader tiff(exif);
  if (!tiff.read_byte_order()) return std::nullopt;
  const auto directory = tiff.number(4, 4);
  if (!directory) return std::nullopt;
  const auto count = tiff.number(*directory, 2);
  for (uint64_t i = 0; count && i < *count; ++i) {
    const uint64_t entry = *directory + 2 + i * 12;  // tag, type, count, value
    const auto tag = tiff.number(entry, 2), type = tiff.number(entry + 2, 2);
    if (!tag || !type) return std::nullopt;
    if (*tag != kOrientationTag) continue;
    if (*type == kShort) return tiff.number(entry + 8, 2);
    if (*type == kLong) return tiff.number(entry + 8, 4);
    return std::nullopt;
  }
  return std::nullopt;
}

std::optional<uint32_t> xmp_orientation(std::string_view xmp) {
  for (size_t at = xmp.find("tiff:Orientation"); at != xmp.npos; at = xmp.find("tiff:Orientation", at + 1)) {
    std::string_view rest = xmp.substr(at + std::strlen("tiff:Orientation"));
    const size_t skip = rest.starts_with("=\"") ? 2 : rest.starts_with(">") ? 1 : 0;
    if (skip != 0 && rest.size() > skip && rest[skip] >= '0' && rest[skip] <= '9') return rest[skip] - '0';
  }
  return std::nullopt;
}

}  // namespace

int read_orientation(std::string_view exif, std::string_view xmp) {
  std::optional<uint32_t> value = exif_orientation(exif);
  if (!value) value = xmp_orientation(xmp);
  return value && *value >= 1 && *value <= 8 ? static_cast<int>(*value) : 1;
}

Image apply_orientation(Image image, int orientation) {
  if (orientation < 2 || orientation > 8) return image;
  // Each value is a choice of three switches that take a target pixel to its source.
  struct Turn {
    bool swap_axes, mirror_x, mirror_y;
  };
  constexpr std::array<Turn, 9> kTurns = {{{},
                                           {},
                                           {false, true, false},
                                           {false, true, true},
                                           {false, false, true},
                                           {true, false, false},
                                           {true, false, true},
                                           {true, true, true},
                                           {true, true, false}}};
  const Turn turn = kTurns[orientation];
  Image turned(turn.swap_axes ? image.height : image.width, turn.swap_axes ? image.width : image.height);
  for (int64_t y = 0; y < turned.height; ++y) {
    for (int64_t x = 0; x < turned.width; ++x) {
      int64_t source_x = turn.swap_axes ? y : x, source_y = turn.swap_axes ? x : y;
      if (turn.mirror_x) source_x = image.width - 1 - source_x;
      if (turn.mirror_y) source_y = image.height - 1 - source_y;
      std::memcpy(turned.at(x, y), image.at(source_x, source_y), 3);
    }
  }
  return turned;
}

}  // namespace readback::image
