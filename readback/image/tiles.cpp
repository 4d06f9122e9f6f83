#include "readback/image/tiles.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "readback/base/error.h"
#include "readback/image/preprocess_config.h"

namespace readback::image {

namespace {

struct Size {
  int64_t width, height;
};

// As transformers computes it, in double precision and with its order of roundings.
Size resized(Size size, const TileOptions& options) {
  constexpr int64_t kLargest = 4096;
  const auto fit = [](Size from, int64_t longest, bool even) {
    const double ratio = static_cast<double>(from.width) / static_cast<double>(from.height);
    Size to{longest, longest};
    int64_t& shorter = from.width >= from.height ? to.height : to.width;
    shorter = static_cast<int64_t>(from.width >= from.height ? static_cast<double>(longest) / ratio
                                                             : static_cast<double>(longest) * ratio);
    if (even && shorter % 2 != 0) ++shorter;
    shorter = std::max<int64_t>(shorter, 1);
    return to;
  };
  if (options.do_resize) {
    size = fit(size, options.longest_edge, /*even=*/true);
    if (std::max(size.width, size.height) > kLargest) size = fit(size, kLargest, /*even=*/false);
  }
  return size;
}

Size whole_tiles(Size size, int64_t tile) {
  const auto up = [&](int64_t side) { return (side + tile - 1) / tile * tile; };
  const double ratio = static_cast<double>(size.width) / static_cast<double>(size.height);
  if (size.width >= size.height) {
    const int64_t width = up(size.width);
    return {width, up(static_cast<int64_t>(static_cast<double>(width) / ratio))};
  }
  const int64_t height = up(size.height);
  return {up(static_cast<int64_t>(static_cast<double>(height) * ratio)), height};
}

Image crop(const Image& image, int64_t left, int64_t top, int64_t side) {
  Image part(side, side);
  for (int64_t y = 0; y < side; ++y) {
    std::memcpy(part.at(0, y), image.at(left, top + y), static_cast<size_t>(side) * 3);
  }
  return part;
}

Image resize_to(const Image& image, Size size, Filter filter) {
  return image.width == size.width && image.height == size.height ? image
                                                                  : resize(image, size.width, size.height, filter);
}

}  // namespace

TileOptions read_tile_options(const checkpoint::Repository& repository) {
  checkpoint::ConfigReader reader = preprocessor_config(repository);
  const std::string type = processor_type(reader);
  if (type != "SmolVLM" && type != "Idefics3") {
    throw CheckpointError(describe(reader.where(), "a SmolVLMImageProcessor or Idefics3ImageProcessor",
                                   type.empty() ? "no image_processor_type" : type));
  }
  TileOptions options;
  const auto longest_edge = [&](const char* key, int64_t fallback) {
    checkpoint::ConfigReader size = reader.section(key);
    const auto side = size.get<int64_t>("longest_edge", fallback);
    size.finish();
    if (side < 1 || side > 65'536) {
      throw CheckpointError(describe(reader.where() + ": " + key, "a side of 1 to 65536", std::to_string(side)));
    }
    return side;
  };
  options.longest_edge = longest_edge("size", options.longest_edge);
  options.tile = longest_edge("max_image_size", options.tile);
  options.do_resize = reader.get("do_resize", true);
  options.do_image_splitting = reader.get("do_image_splitting", true);
  options.resample = read_filter(reader, Filter::kLanczos);
  options.pixels = {
      .do_resize = false, .do_center_crop = false, .image_mean = {0.5, 0.5, 0.5}, .image_std = {0.5, 0.5, 0.5}};
  read_pixels(reader, options.pixels);
  reader.ignore({"do_pad", "return_row_col_info", "video_sampling", "num_frames", "fps", "return_metadata"});
  finish_preprocessor(reader);
  return options;
}

TileGrid tile_grid(int64_t width, int64_t height, const TileOptions& options) {
  if (!options.do_image_splitting) return {};
  const Size size = whole_tiles(resized({width, height}, options), options.tile);
  if (size.width <= options.tile && size.height <= options.tile) return {};
  return {size.height / options.tile, size.width / options.tile};
}

std::vector<Image> cut_into_tiles(const Image& image, const TileOptions& options) {
  const Size square{options.tile, options.tile};
  Image whole = resize_to(image, resized({image.width, image.height}, options), options.resample);
  if (!options.do_image_splitting) return {resize_to(whole, square, options.resample)};
  whole = resize_to(whole, whole_tiles({whole.width, whole.height}, options.tile), options.resample);
  const TileGrid grid = tile_grid(image.width, image.height, options);
  std::vector<Image> tiles;
  for (int64_t row = 0; row < grid.rows; ++row) {
    for (int64_t column = 0; column < grid.columns; ++column) {
      tiles.push_back(crop(whole, column * options.tile, row * options.tile, options.tile));
    }
  }
  tiles.push_back(resize_to(whole, square, options.resample));
  return tiles;
}

}  // namespace readback::image
