// Resizing equal to Pillow's Image.resize: two passes, antialiased, 8-bit fixed point; results are identical bytes.
#pragma once
#include "readback/image/image.h"

namespace readback::image {

enum class Filter { kBilinear, kBicubic, kLanczos };  // Pillow's BILINEAR, BICUBIC (a = -0.5), LANCZOS (3 lobes)

// Errors: DataError when a side of the source or of the target is below 1.
Image resize(const Image& image, int64_t width, int64_t height, Filter filter);

}  // namespace readback::image
