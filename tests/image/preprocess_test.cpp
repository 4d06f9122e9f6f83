#include "readback/image/preprocess.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <limits>

#include "readback/base/error.h"
#include "readback/checkpoint/safetensors.h"
#include "support.h"

namespace readback::image {
namespace {

using checkpoint::ConfigReader;

PreprocessOptions options_of(const nlohmann::json& config) {
  return read_preprocess_options(ConfigReader(config, "preprocessor_config.json"));
}

TEST(Preprocess, EqualsTransformers) {
  const auto tensors = checkpoint::load_safetensors(testing::golden("preprocessing.safetensors"));
  const nlohmann::json cases = read_json(testing::golden("preprocessing.json"));
  ASSERT_GE(cases.size(), 11U);
  for (const auto& [name, entry] : cases.items()) {
    const Image image = testing::noise(entry.at("width"), entry.at("height"), entry.at("seed"));
    const at::Tensor pixels = preprocess(image, options_of(entry.at("config")));
    const at::Tensor& expected = tensors.at(name);
    ASSERT_EQ(pixels.sizes(), expected.sizes()) << name;
    ASSERT_EQ(pixels.scalar_type(), at::kFloat) << name;
    EXPECT_LE((pixels - expected).abs().max().item<float>(), 1e-6F * expected.abs().max().item<float>()) << name;
  }
}

TEST(Preprocess, EqualsDiffusers) {
  const auto tensors = checkpoint::load_safetensors(testing::golden("preprocessing.safetensors"));
  const at::Tensor pixels = to_signed_unit(testing::noise(16, 8, 99));
  ASSERT_EQ(pixels.sizes(), tensors.at("vae-in").sizes());
  EXPECT_LE((pixels - tensors.at("vae-in")).abs().max().item<float>(), 1e-6F);
  const at::Tensor source = tensors.at("vae-out-source");
  for (const auto& [name, type] :
       {std::pair("vae-out-float32", at::kFloat), std::pair("vae-out-bfloat16", at::kBFloat16)}) {
    const Image image = from_signed_unit(source.to(type));
    const at::Tensor expected = tensors.at(name).contiguous();  // [H, W, 3]
    ASSERT_EQ(image.height, expected.size(0));
    ASSERT_EQ(image.width, expected.size(1));
    EXPECT_TRUE(std::equal(image.pixels.begin(), image.pixels.end(), expected.const_data_ptr<uint8_t>())) << name;
  }
}

TEST(Preprocess, SignedUnitComesBack) {
  const Image image = testing::noise(13, 9, 7);
  EXPECT_EQ(from_signed_unit(to_signed_unit(image)), image);
  EXPECT_EQ(from_signed_unit(at::full({3, 1, 1}, std::numeric_limits<float>::quiet_NaN())).pixels[0], 0);
  EXPECT_THROW(from_signed_unit(at::zeros({1, 4, 4})), DataError);
  EXPECT_THROW(from_signed_unit(at::zeros({2, 3, 4, 4})), DataError);
}

TEST(Preprocess, ReadsBothKindsOfRepository) {
  const auto folder = std::filesystem::temp_directory_path() / ("readback-preprocess-" + std::to_string(getpid()));
  const std::string clip = R"({"image_processor_type": "CLIPImageProcessor", "size": 30})";
  write_file(folder / "a/preprocessor_config.json", clip);
  write_file(folder / "a/feature_extractor/preprocessor_config.json",
             R"({"image_processor_type": "BlipImageProcessor"})");
  write_file(folder / "b/processor_config.json", R"({"image_processor": )" + clip + "}");
  EXPECT_EQ(read_preprocess_options(checkpoint::Repository((folder / "a").string())).shortest_edge, 30);
  EXPECT_EQ(read_preprocess_options(checkpoint::Repository((folder / "a").string()), "feature_extractor").height, 384);
  EXPECT_EQ(read_preprocess_options(checkpoint::Repository((folder / "b").string())).shortest_edge, 30);
  std::filesystem::remove_all(folder);
}

TEST(Preprocess, RefusesWhatItDoesNotDo) {
  const nlohmann::json clip = {{"image_processor_type", "CLIPImageProcessor"}};
  EXPECT_NO_THROW(options_of(clip));
  for (const auto& [key, value] : std::initializer_list<std::pair<std::string, nlohmann::json>>{
           {"resample", 0},
           {"size", {{"longest_edge", 30}}},
           {"size", {{"shortest_edge", 30}, {"longest_edge", 50}}},
           {"size", 0},
           {"do_convert_rgb", false},
           {"image_mean", {0.5}},
           {"pad_size", {{"height", 30}, {"width", 30}}},
           {"sharpen", true},
           {"image_processor_type", "BitImageProcessor"}}) {
    nlohmann::json config = clip;
    config[key] = value;
    EXPECT_THROW(options_of(config), CheckpointError) << key << " " << value;
  }
  EXPECT_THROW(options_of(nlohmann::json::object()), CheckpointError);
}

TEST(Preprocess, RefusesPicturesThatWouldGrowWithoutEnd) {
  const PreprocessOptions options = options_of({{"image_processor_type", "CLIPImageProcessor"}, {"crop_size", 8}});
  EXPECT_THROW(preprocess(Image(1, 60'000), options), DataError);
}

}  // namespace
}  // namespace readback::image
