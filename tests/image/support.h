// What the tests of image/ share with tools/reference/images.py.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "readback/base/files.h"
#include "readback/image/image.h"
#include "readback/image/resize.h"
#include "tests/source_dir.h"

namespace readback::image::testing {

inline std::filesystem::path golden(const std::string& name) {
  return tests::source_dir() / "tests/goldens/image" / name;
}

inline std::filesystem::path photos() { return tests::shared_data("coco-mini/images"); }

// Pixels of a linear congruential generator.
inline Image noise(int64_t width, int64_t height, uint32_t seed) {
  Image image(width, height);
  for (uint8_t& value : image.pixels) {
    seed = seed * 1664525U + 1013904223U;
    value = static_cast<uint8_t>(seed >> 24);
  }
  return image;
}

// Sum over bytes of (byte + 1) · ((i + 1) · golden ratio | 1), modulo 2^64, in hexadecimal.
inline std::string digest(const Image& image) {
  uint64_t sum = 0, factor = 0;
  for (const uint8_t value : image.pixels) {
    factor += 0x9E3779B97F4A7C15U;
    sum += (value + uint64_t{1}) * (factor | 1);
  }
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(sum));
  return text;
}

inline std::string from_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

inline Filter filter_of(const std::string& name) {
  return name == "bilinear" ? Filter::kBilinear : name == "bicubic" ? Filter::kBicubic : Filter::kLanczos;
}

}  // namespace readback::image::testing
