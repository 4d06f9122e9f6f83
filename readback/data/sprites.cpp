#include "readback/data/sprites.h"

#include <png.h>

#include <algorithm>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>

#include "readback/base/assets.h"
#include "readback/base/error.h"
#include "readback/base/files.h"

namespace readback::data {

namespace {

using Rgba = std::array<uint8_t, 4>;

struct RgbaPicture {
  int width = 0, height = 0;
  std::vector<Rgba> pixels;  // straight alpha
};

// Empty when the bytes are no whole PNG image.
RgbaPicture decode_rgba(const std::string& bytes) {
  png_image header{};
  header.version = PNG_IMAGE_VERSION;
  RgbaPicture picture;
  if (png_image_begin_read_from_memory(&header, bytes.data(), bytes.size()) == 0) return picture;
  header.format = PNG_FORMAT_RGBA;
  picture.pixels.resize(size_t{header.width} * header.height);
  if (png_image_finish_read(&header, nullptr, picture.pixels.data(), 0, nullptr) == 0) return {};
  picture.width = static_cast<int>(header.width);
  picture.height = static_cast<int>(header.height);
  return picture;
}

std::vector<Rgba> cut(const RgbaPicture& picture, int left, int top) {
  std::vector<Rgba> sprite;
  for (int y = top; y < top + static_cast<int>(kSpriteSide); ++y) {
    const auto row = picture.pixels.begin() + static_cast<std::ptrdiff_t>(y) * picture.width + left;
    sprite.insert(sprite.end(), row, row + kSpriteSide);
  }
  return sprite;
}

Atlas load_atlas() {
  const auto folder = assets_dir() / "emoji-scenes" / "sprites";
  const auto fail = [&](const std::string& file, const std::string& expected, const std::string& got) {
    throw DataError(describe((folder / file).string(), expected, got, "Run tools/emoji_atlas.py"));
  };
  const RgbaPicture picture = decode_rgba(read_file(folder / "atlas.png"));
  if (picture.pixels.empty()) fail("atlas.png", "a PNG image", "other bytes");
  Atlas atlas;
  const nlohmann::json table = read_json(folder / "atlas.json");
  try {
    if (table.at("side") != kSpriteSide) fail("atlas.json", "sprites of 64 pixels", table.at("side").dump());
    for (const auto& object : table.at("objects")) {
      const int x = object.at("x"), y = object.at("y"), side = kSpriteSide;
      if (x < 0 || y < 0 || x + side > picture.width || y + side > picture.height) {
        fail("atlas.json", "sprites inside atlas.png", object.dump());
      }
      atlas.objects.push_back(object.at("name"));
      atlas.sprites.push_back(cut(picture, x, y));
    }
    for (const auto& background : table.at("backgrounds")) {
      atlas.backgrounds.push_back(background.at("name"));
      atlas.colors.push_back(background.at("rgb"));
    }
  } catch (const nlohmann::json::exception& error) {
    fail("atlas.json", "side, objects and backgrounds", error.what());
  }
  if (atlas.objects.size() < 2 || atlas.backgrounds.empty())
    fail("atlas.json", "two objects and a background", "fewer");
  return atlas;
}

// Along one axis source pixel k covers [k · side, (k + 1) · side) and target pixel i [i · 64, (i + 1) · 64).
uint32_t overlap(int64_t source, int64_t target, int64_t side) {
  const int64_t low = std::max(source * side, target * kSpriteSide);
  const int64_t high = std::min((source + 1) * side, (target + 1) * kSpriteSide);
  return static_cast<uint32_t>(std::max<int64_t>(0, high - low));
}

std::vector<SpritePixel> scale(const std::vector<Rgba>& sprite, int64_t side) {
  std::vector<SpritePixel> scaled(static_cast<size_t>(side * side), SpritePixel{});
  for (int64_t y = 0; y < side; ++y) {
    for (int64_t x = 0; x < side; ++x) {
      SpritePixel& pixel = scaled[static_cast<size_t>(y * side + x)];
      const int64_t last_y = ((y + 1) * kSpriteSide - 1) / side, last_x = ((x + 1) * kSpriteSide - 1) / side;
      for (int64_t v = y * kSpriteSide / side; v <= last_y; ++v) {
        for (int64_t u = x * kSpriteSide / side; u <= last_x; ++u) {
          const auto& rgba = sprite[static_cast<size_t>(v * kSpriteSide + u)];
          const uint32_t alpha = overlap(v, y, side) * overlap(u, x, side) * rgba[3];
          pixel.alpha += alpha;
          for (int c = 0; c < 3; ++c) pixel.color[c] += alpha * rgba[c];
        }
      }
    }
  }
  return scaled;
}

}  // namespace

const Atlas& atlas() {
  static const Atlas kAtlas = load_atlas();
  return kAtlas;
}

const std::vector<SpritePixel>& scaled_sprite(int object, int64_t side) {
  static std::mutex mutex;
  static std::map<std::pair<int64_t, int>, std::unique_ptr<const std::vector<SpritePixel>>> cache;
  const Atlas& sprites = atlas();
  const std::lock_guard lock(mutex);
  auto& entry = cache[{side, object}];
  if (!entry) {
    entry =
        std::make_unique<const std::vector<SpritePixel>>(scale(sprites.sprites.at(static_cast<size_t>(object)), side));
  }
  return *entry;
}

}  // namespace readback::data
