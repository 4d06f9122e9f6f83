// Pictures inside the page: small ones as they are, photos small enough that the page can be mailed.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "readback/image/image.h"

namespace readback::report {

// Sides up to this are drawn pixel by pixel, enlarged.
inline constexpr int64_t kPixelArt = 64;

struct Picture {
  std::string uri;  // data:image/…;base64,…; empty: there is none
  int64_t width = 0, height = 0;
  bool pixelated = false;
};

enum class PictureSize { kFull, kThumbnail };

std::string base64(std::string_view bytes);

// Pictures whose sides are at most kPixelArt as PNG; larger ones as JPEG with sides of at most 384 pixels (thumbnails:
// 112), or fewer when all of them would not fit into `bytes`. In the order of `images`.
class PictureAlbum {
 public:
  explicit PictureAlbum(int64_t bytes) : bytes_(bytes) {}
  // Gives the picture's place in embed()'s result.
  size_t add(const image::Image& image, PictureSize size);
  std::vector<Picture> embed() const;

 private:
  struct Entry {
    image::Image image;  // no larger than it may be shown
    PictureSize size;
  };
  int64_t bytes_;
  std::vector<Entry> entries_;
};

}  // namespace readback::report
