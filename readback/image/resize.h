// Resizing equal to Pillow's Image.resize: two passes, antialiased, 8-bit fixed point; results are identical bytes.
//
// Pillow 13 is followed, which takes the height before the width when it shrinks by more than twice as many pixels.
// Earlier releases always took the width first: where the order differs (many upright photos) single values differ,
// by up to 13 levels beside sharp edges, where the first pass clips.
#pragma once
#include <vector>

#include "readback/image/image.h"

namespace readback::image {

enum class Filter { kBilinear, kBicubic, kLanczos };  // Pillow's BILINEAR, BICUBIC (a = -0.5), LANCZOS (3 lobes)

// Errors: DataError when a side of the source or of the target is below 1, or the target has over kMaxPixels pixels.
Image resize(const Image& image, int64_t width, int64_t height, Filter filter);

// height × width × 3, neither rounded nor clipped: Pillow's resize of each channel as an image of mode "F".
// Errors: as resize().
std::vector<float> resize_unrounded(const Image& image, int64_t width, int64_t height, Filter filter);

}  // namespace readback::image
