#include "readback/data/picture_files.h"

#include <fmt/format.h>

#include "readback/base/error.h"
#include "readback/data/digest.h"
#include "readback/image/codec.h"

namespace readback::data {

PictureFiles::PictureFiles(Origin origin, std::vector<Sample> samples, std::string remarks,
                           const DatasetOptions& options)
    : origin_(std::move(origin)),
      selection_(std::ssize(samples), options),
      samples_(std::move(samples)),
      remarks_(std::move(remarks)) {
  int64_t bare = 0, pictures = 0;
  for (int64_t i = 0; i < size(); ++i) {
    pictures += at(i).has_image() ? 1 : 0;
    bare += at(i).has_image() && at(i).references.empty() ? 1 : 0;
  }
  if (bare == 0 || bare == pictures) return;  // a folder of pictures alone is nothing to remark on
  remarks_ += (remarks_.empty() ? "" : ", ") + counted(bare, "image") + " without captions";
}

image::Image PictureFiles::load_image(int64_t index) const {
  if (at(index).has_image()) return image::load(image_file(index), image::Alpha::kOnWhite);
  throw DataError(describe(place(index), "an image", "a text alone"));
}

std::string PictureFiles::description() const {
  return fmt::format("{} {}, {}{}{}", origin_.kind, origin_.shown.string(), selection_.count_of(origin_.what),
                     remarks_.empty() ? "" : "; ", remarks_);
}

std::string PictureFiles::digest() const { return digest_of(*this, origin_.kind); }

std::filesystem::path PictureFiles::image_file(int64_t index) const {
  return at(index).has_image() ? origin_.folder / at(index).image_name : std::filesystem::path();
}

std::string PictureFiles::place(int64_t index) const {
  return (origin_.written.empty() ? origin_.shown : origin_.written).string() + ", " + at(index).id;
}

}  // namespace readback::data
