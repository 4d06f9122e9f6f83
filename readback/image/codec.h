// Image files to and from memory.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>

#include "readback/image/image.h"

namespace readback::image {

// JPEG, PNG, WebP (and what else OpenCV reads), with EXIF orientation applied and grey, alpha, palette and CMYK
// brought to RGB as Pillow's ImageOps.exif_transpose(im).convert("RGB") does. Errors: DataError naming the file.
Image load(const std::filesystem::path& path);
Image decode(std::string_view bytes, const std::string& name);

// PNG without loss; JPEG at Pillow's default quality of 75. The format follows the extension. Written atomically.
void save(const Image& image, const std::filesystem::path& path);
std::string encode_png(const Image& image);

}  // namespace readback::image
