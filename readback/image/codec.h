// Image files to and from memory.
//
// JPEG, PNG and WebP through libjpeg-turbo, libpng and libwebp, the libraries that Pillow is built on. Not OpenCV's
// imgcodecs: it converts CMYK by another formula, lets truncated files pass, finds no orientation in WebP and prints to
// standard error.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>

#include "readback/image/image.h"

namespace readback::image {

// The pixels that Pillow's ImageOps.exif_transpose(Image.open(file)).convert("RGB") gives:
//  - EXIF orientation (or, without one, XMP's tiff:Orientation) applied; an unreadable EXIF block counts as none;
//  - grey repeated, alpha and palette transparency dropped (transformers 5 lays transparent pictures on white instead,
//    unless the caller has converted them to RGB before), CMYK as Adobe stores it (inverted);
//  - 16-bit colour by its high byte, 16-bit grey clipped at 255 (so mostly white), as Pillow does;
//  - the first picture of an animation.
// Identical bytes in every test; between Pillow's own libjpeg-turbo 3 and the system's 2.1 no difference was found.
// Errors: DataError naming the file (for decode: `name`) when it is missing, of another kind, truncated or corrupt, or
// has more than kMaxPixels pixels.
Image load(const std::filesystem::path& path);
Image decode(std::string_view bytes, const std::string& name);

// .png without loss; .jpg or .jpeg as Pillow's default (quality 75, 4:2:0). Written atomically.
// Errors: UsageError for another extension, DataError for an empty image or a side above 65,500 (JPEG), StoreError.
void save(const Image& image, const std::filesystem::path& path);
std::string encode_png(const Image& image);
std::string encode_jpeg(const Image& image, int quality = 75);

}  // namespace readback::image
