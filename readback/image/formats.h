// The three formats behind codec.h. Internal to this folder.
#pragma once
#include <string>
#include <string_view>

#include "readback/image/image.h"

namespace readback::image {

struct DecodedFile {
  Image image;          // as stored, not yet turned
  int orientation = 1;  // EXIF's 1 … 8
};

bool is_jpeg(std::string_view bytes);
bool is_png(std::string_view bytes);
bool is_webp(std::string_view bytes);

// Errors: DataError naming `name`.
DecodedFile decode_jpeg(std::string_view bytes, const std::string& name);
DecodedFile decode_png(std::string_view bytes, const std::string& name);
DecodedFile decode_webp(std::string_view bytes, const std::string& name);

// Errors: DataError naming `name` when the picture is empty or has more than kMaxPixels pixels.
void check_size(int64_t width, int64_t height, const std::string& name);

}  // namespace readback::image
