#include "readback/image/codec.h"

#include <algorithm>
#include <cctype>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/image/formats.h"
#include "readback/image/orientation.h"

namespace readback::image {

void check_size(int64_t width, int64_t height, const std::string& name) {
  const std::string got = std::to_string(width) + " × " + std::to_string(height);
  if (width < 1 || height < 1) throw DataError(describe(name, "a picture of at least one pixel", got));
  if (width > kMaxPixels / height) {
    throw DataError(describe(name, "at most " + std::to_string(kMaxPixels) + " pixels", got,
                             "The file may be a decompression bomb; make it smaller if it is not"));
  }
}

Image decode(std::string_view bytes, const std::string& name) {
  DecodedFile file;
  if (is_jpeg(bytes)) {
    file = decode_jpeg(bytes, name);
  } else if (is_png(bytes)) {
    file = decode_png(bytes, name);
  } else if (is_webp(bytes)) {
    file = decode_webp(bytes, name);
  } else {
    throw DataError(
        describe(name, "a JPEG, PNG or WebP picture", bytes.empty() ? "an empty file" : "another kind of file"));
  }
  return apply_orientation(std::move(file.image), file.orientation);
}

Image load(const std::filesystem::path& path) { return decode(read_file(path), path.string()); }

void save(const Image& image, const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  if (extension == ".png") {
    write_file(path, encode_png(image));
  } else if (extension == ".jpg" || extension == ".jpeg") {
    write_file(path, encode_jpeg(image));
  } else {
    throw UsageError(describe(path.string(), "a name that ends in .png, .jpg or .jpeg", extension));
  }
}

}  // namespace readback::image
