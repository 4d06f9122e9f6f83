// How pictures are cut, against transformers (tools/reference/multimodal_captions.py). What the tiles show is compared
// by the captions of tests/caption/multimodal_captioners_test.cpp.
#include "readback/image/tiles.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "tests/source_dir.h"

namespace readback::image {
namespace {

TEST(Tiles, GridsEqualTransformers) {
  const TileOptions options{.longest_edge = 2048, .tile = 512};
  const nlohmann::json golden = read_json(tests::source_dir() / "tests/goldens/multimodal/tiles.json");
  ASSERT_GT(golden.size(), 80u);
  for (const nlohmann::json& row : golden) {
    const TileGrid grid = tile_grid(row[0], row[1], options);
    EXPECT_EQ(grid.rows, row[2].get<int64_t>()) << row;
    EXPECT_EQ(grid.columns, row[3].get<int64_t>()) << row;
  }
}

TEST(Tiles, StandRowByRowBeforeTheWhole) {
  const TileOptions options{.longest_edge = 8, .tile = 4, .do_resize = false};
  Image image(8, 4);
  for (int64_t y = 0; y < 4; ++y) {
    for (int64_t x = 0; x < 8; ++x) *image.at(x, y) = static_cast<uint8_t>(10 * x + y);
  }
  const std::vector<Image> tiles = cut_into_tiles(image, options);
  ASSERT_EQ(tiles.size(), 3u);
  EXPECT_EQ(static_cast<size_t>(tile_grid(8, 4, options).tiles()), tiles.size());
  for (const Image& tile : tiles) EXPECT_TRUE(tile.width == 4 && tile.height == 4);
  EXPECT_EQ(*tiles[0].at(3, 2), 32);
  EXPECT_EQ(*tiles[1].at(0, 1), 41);
}

TEST(Tiles, ReadsProcessorsOfOldAndNewReleases) {
  const checkpoint::Repository repository((tests::source_dir() / "tests/goldens/multimodal/smolvlm").string());
  const TileOptions options = read_tile_options(repository);
  EXPECT_EQ(options.longest_edge, 80);
  EXPECT_EQ(options.tile, 32);
  EXPECT_TRUE(options.do_image_splitting);
  EXPECT_THROW(
      read_tile_options(checkpoint::Repository((tests::source_dir() / "tests/goldens/multimodal/idefics").string())),
      CheckpointError);
}

}  // namespace
}  // namespace readback::image
