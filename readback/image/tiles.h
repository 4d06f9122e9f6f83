// Pictures cut into square tiles that a vision model reads one by one, and the whole picture after them: SmolVLM's and
// Idefics3's way to see detail.
#pragma once
#include <vector>

#include "readback/checkpoint/repository.h"
#include "readback/image/image.h"
#include "readback/image/preprocess.h"

namespace readback::image {

struct TileOptions {
  int64_t longest_edge = 4 * 364;  // the picture is first brought to this size …
  int64_t tile = 364;              // … and then to whole tiles of this side
  bool do_resize = true, do_image_splitting = true;
  Filter resample = Filter::kLanczos;
  PreprocessOptions pixels;  // of each tile; resizes and crops nothing
};

// SmolVLMImageProcessor and Idefics3ImageProcessor (also …Fast and …Pil), from preprocessor_config.json or
// processor_config.json. Errors: CheckpointError for another processor and every key that is not known.
TileOptions read_tile_options(const checkpoint::Repository& repository);

// How a picture of this size is cut; 0 and 0: it is one tile.
struct TileGrid {
  int64_t rows = 0, columns = 0;
  int64_t tiles() const { return rows * columns + 1; }
};
TileGrid tile_grid(int64_t width, int64_t height, const TileOptions& options);

// Row by row, then the whole picture: each `tile` pixels square, equal to transformers' processors of the PIL backend.
// Errors: DataError as resize().
std::vector<Image> cut_into_tiles(const Image& image, const TileOptions& options);

}  // namespace readback::image
