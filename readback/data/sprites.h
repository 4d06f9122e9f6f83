// The sprite atlas in memory, and sprites scaled to any side.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace readback::data {

// Sums over the area that a pixel covers, in units of 1/(255 · kSpriteUnit): exact integers, so that blending rounds
// once and gives equal bytes on every machine.
struct SpritePixel {
  std::array<uint32_t, 3> color;  // premultiplied by opacity
  uint32_t alpha;                 // 0 … 255 · kSpriteUnit
};
constexpr uint32_t kSpriteSide = 64;
constexpr uint32_t kSpriteUnit = kSpriteSide * kSpriteSide;

struct Atlas {
  std::vector<std::string> objects, backgrounds;
  std::vector<std::array<uint8_t, 3>> colors;                // of the backgrounds, RGB
  std::vector<std::vector<std::array<uint8_t, 4>>> sprites;  // kSpriteUnit pixels each, RGBA, straight alpha
};

// Read once from assets_dir(). Errors: DataError.
const Atlas& atlas();

// side × side pixels, area-averaged; made once and kept. Safe from several threads.
const std::vector<SpritePixel>& scaled_sprite(int object, int64_t side);

// A channel of a sprite's pixel over a background.
inline uint8_t blend(const SpritePixel& pixel, int channel, uint32_t background) {
  constexpr uint32_t kFull = 255 * kSpriteUnit;
  return static_cast<uint8_t>((pixel.color[channel] + (kFull - pixel.alpha) * background + kFull / 2) / kFull);
}

}  // namespace readback::data
