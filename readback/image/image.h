// A picture in memory: 8-bit RGB, row by row, as Pillow's convert("RGB") gives it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace readback::image {

// Larger pictures are refused before memory is taken for them: the limit of Pillow's DecompressionBombError.
inline constexpr int64_t kMaxPixels = 178'956'970;

struct Image {
  int64_t width = 0, height = 0;
  std::vector<uint8_t> pixels;  // height × width × 3, RGB

  Image() = default;
  Image(int64_t width, int64_t height)
      : width(width), height(height), pixels(static_cast<size_t>(width * height * 3)) {}
  uint8_t* at(int64_t x, int64_t y) { return pixels.data() + (y * width + x) * 3; }
  const uint8_t* at(int64_t x, int64_t y) const { return pixels.data() + (y * width + x) * 3; }
  bool operator==(const Image&) const = default;
};

}  // namespace readback::image
