// The formats behind codec.h. Internal to this folder.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "readback/image/image.h"

namespace readback::image {

struct DecodedFile {
  Image image;                 // as stored, not yet turned; of transparent pixels what lies under them
  int orientation = 1;         // EXIF's 1 … 8
  std::vector<uint8_t> alpha;  // height × width, 0 (transparent) … 255; empty where the file has no transparency
};

bool is_jpeg(std::string_view bytes);
bool is_png(std::string_view bytes);
bool is_webp(std::string_view bytes);
bool is_bmp(std::string_view bytes);
bool is_gif(std::string_view bytes);
bool is_tiff(std::string_view bytes);

// Errors: DataError naming `name`.
DecodedFile decode_jpeg(std::string_view bytes, const std::string& name);
DecodedFile decode_png(std::string_view bytes, const std::string& name);
DecodedFile decode_webp(std::string_view bytes, const std::string& name);
DecodedFile decode_bmp(std::string_view bytes, const std::string& name);
DecodedFile decode_gif(std::string_view bytes, const std::string& name);
DecodedFile decode_tiff(std::string_view bytes, const std::string& name);

// Errors: DataError naming `name` when the picture is empty or has more than kMaxPixels pixels.
void check_size(int64_t width, int64_t height, const std::string& name);

// Colours of a palette; indices past its end are black, as in Pillow.
using Palette = std::array<std::array<uint8_t, 3>, 256>;

// Replaces indices, which stand one a pixel at the start of each row of `image`, by their colours.
void expand_palette(Image& image, const Palette& palette);

// True for entries that are all (i, i, i). Pillow reads such pictures as grey, so that indices past the end are grey
// too.
bool is_grey_ramp(const Palette& palette, int64_t entries);
Palette grey_ramp();

// Pillow's conversion of a pixel: ink 0 is none.
void cmyk_to_rgb(const uint8_t* cmyk, uint8_t* rgb, int64_t width);

}  // namespace readback::image
