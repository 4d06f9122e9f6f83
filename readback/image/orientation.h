// EXIF orientation. Internal to this folder.
#pragma once
#include <string_view>

#include "readback/image/image.h"

namespace readback::image {

// `exif`: a TIFF block, with or without "Exif\0\0" before it. `xmp`: an XML packet, looked at when EXIF has no
// orientation. 1 when neither says anything that can be read.
int read_orientation(std::string_view exif, std::string_view xmp);

// The picture as it should be looked at: what Pillow's ImageOps.exif_transpose does for 2 … 8; others change nothing.
Image apply_orientation(Image image, int orientation);

}  // namespace readback::image
