// Image files to and from memory.
//
// JPEG, PNG, WebP, GIF and TIFF through libjpeg-turbo, libpng, libwebp, giflib and libtiff; BMP by a reader of our own.
// Not OpenCV's imgcodecs: it converts CMYK by another formula, lets truncated files pass, finds no orientation in WebP
// and prints to standard error.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "readback/image/image.h"

namespace readback::image {

// What becomes of transparency. Each reader of pictures says which it takes.
enum class Alpha {
  kOnWhite,  // laid on white, as transformers 5's processors do: what captioners and embedders are given
  kDropped,  // what lies under it shows, as with Pillow's convert("RGB"): torch-fidelity's FID, KID and IS
};

// The pixels that Pillow gives after ImageOps.exif_transpose:
//  - kDropped: .convert("RGB"). kOnWhite: Pillow's alpha_composite on white. Transparency is an alpha channel or, in
//    PNG and GIF, a transparent colour. Both give the same where a file has none.
//  - EXIF orientation (or, without one, XMP's tiff:Orientation) applied; an unreadable EXIF block counts as none;
//  - grey repeated, CMYK as Adobe stores it (inverted) in JPEG and as it is in TIFF;
//  - 16-bit colour by its high byte, 16-bit grey clipped at 255 (so mostly white), as Pillow does; 32-bit and
//    floating-point grey of TIFF clipped to 0 … 255;
//  - the first picture of an animation or of several pages.
// BMP: 1, 4, 8, 16, 24 and 32 bits, RLE, bit fields. TIFF: grey, RGB, palette, CMYK and YCbCr of whole bytes or 1, 2 or
// 4 bits, in strips or tiles, compressed by whatever libtiff knows.
// Identical bytes in every test, but for YCbCr of TIFF without compression (one level); between Pillow's own
// libjpeg-turbo 3 and the system's 2.1 no difference was found.
//
// Errors: DataError naming the file (for decode: `name`) when it is missing, of another kind, truncated or corrupt, or
// has more than kMaxPixels pixels.
Image load(const std::filesystem::path& path, Alpha alpha);
Image decode(std::string_view bytes, const std::string& name, Alpha alpha);

// What can be read, for messages: "JPEG, PNG, WebP, BMP, GIF or TIFF".
inline constexpr const char* kReadableKinds = "JPEG, PNG, WebP, BMP, GIF or TIFF";

// By its extension, whatever the case: .jpg, .jpeg, .png, .webp, .bmp, .gif, .tif and .tiff. Hidden files are none.
bool has_image_name(const std::filesystem::path& path);

// For use before work begins: refuses a picture whose extension or first bytes are those of a kind that is not read
// (AVIF, HEIF, JPEG 2000, JPEG XL, Photoshop, SVG). What is missing or damaged passes; load() says that.
// Errors: DataError with the file's name and kind.
void refuse_unreadable_kind(const std::filesystem::path& path);

// .png without loss; .jpg or .jpeg as Pillow's default (quality 75, 4:2:0). Written atomically.
// Errors: UsageError for another extension, DataError for an empty image or a side above 65,500 (JPEG), StoreError.
void save(const Image& image, const std::filesystem::path& path);
// `texts`: keywords (1 to 79 characters of ASCII) and texts in UTF-8. Each becomes a tEXt chunk, or iTXt where it is
// not ASCII; Pillow has both in Image.text.
std::string encode_png(const Image& image, const std::vector<std::pair<std::string, std::string>>& texts = {});
std::string encode_jpeg(const Image& image, int quality = 75);

}  // namespace readback::image
