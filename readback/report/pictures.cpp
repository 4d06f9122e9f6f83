#include "readback/report/pictures.h"

#include <algorithm>
#include <array>

#include "readback/image/codec.h"
#include "readback/image/resize.h"

namespace readback::report {

namespace {

// From what looks good on a dense screen down to what still shows what it is.
struct Level {
  int64_t full, thumbnail;
  int quality;
};
constexpr std::array<Level, 4> kLevels = {{{384, 112, 85}, {320, 96, 75}, {256, 80, 65}, {160, 56, 50}}};

int64_t longest(const image::Image& image) { return std::max(image.width, image.height); }

image::Image shrink(const image::Image& image, int64_t side) {
  if (longest(image) <= side) return image;
  const auto scaled = [&](int64_t length) {
    return std::max<int64_t>(1, (length * side + longest(image) / 2) / longest(image));
  };
  return image::resize(image, scaled(image.width), scaled(image.height), image::Filter::kLanczos);
}

}  // namespace

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string result;
  result.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k) group = group << 8 | (i + k < bytes.size() ? static_cast<uint8_t>(bytes[i + k]) : 0);
    for (size_t k = 0; k < 4; ++k) {
      result += i + k > bytes.size() ? '=' : kDigits[group >> (18 - 6 * k) & 63];
    }
  }
  return result;
}

size_t PictureAlbum::add(const image::Image& image, PictureSize size) {
  const Level& best = kLevels.front();
  entries_.push_back({shrink(image, size == PictureSize::kFull ? best.full : best.thumbnail), size});
  return entries_.size() - 1;
}

std::vector<Picture> PictureAlbum::embed() const {
  std::vector<Picture> pictures;
  for (const Level& level : kLevels) {
    pictures.clear();
    int64_t total = 0;
    for (const Entry& entry : entries_) {
      if (longest(entry.image) <= kPixelArt) {
        const std::string png = image::encode_png(entry.image);
        total += static_cast<int64_t>(png.size());
        pictures.push_back({"data:image/png;base64," + base64(png), entry.image.width, entry.image.height, true});
        continue;
      }
      const image::Image image = shrink(entry.image, entry.size == PictureSize::kFull ? level.full : level.thumbnail);
      const std::string jpeg = image::encode_jpeg(image, level.quality);
      total += static_cast<int64_t>(jpeg.size());
      pictures.push_back({"data:image/jpeg;base64," + base64(jpeg), image.width, image.height, false});
    }
    if (total <= bytes_) break;
  }
  return pictures;
}

}  // namespace readback::report
