// Text encoder, denoiser and picture codec on the golden pipeline.
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "readback/generate/denoiser.h"
#include "readback/generate/picture_codec.h"
#include "readback/generate/text_encoder.h"
#include "readback/image/preprocess.h"
#include "readback/models/part.h"
#include "tests/source_dir.h"

namespace readback::generate {
namespace {

const checkpoint::Repository& repository() {
  static const checkpoint::Repository opened(tests::source_dir().string() + "/tests/goldens/generate/pipeline");
  return opened;
}

TEST(TextEncoder, ReadsEqualPromptsOnce) {
  c10::NoGradGuard no_grad;
  const TextEncoder encoder(repository(), at::kCPU, at::kFloat);
  std::string longer;
  for (int i = 0; i < 19; ++i) longer += "x ";  // 14 of these tokens fit
  const std::vector<std::string> prompts = {"a cat", "a fox", "a cat", longer, ""};
  const TextStates texts = encoder.encode(prompts);
  EXPECT_EQ(texts.rows, (std::vector<int64_t>{0, 1, 0, 2, 3}));
  EXPECT_EQ(texts.truncated, (std::vector<int64_t>{0, 0, 0, 5, 0}));
  EXPECT_EQ(texts.states.sizes(), (std::vector<int64_t>{4, 16, encoder.config().hidden_size}));
  const std::string fox[] = {"a fox"};
  EXPECT_TRUE(at::allclose(texts.states[1], encoder.encode(fox).states[0], 1e-5, 1e-5));
}

TEST(UnetDenoiser, EachSampleReadsItsText) {
  c10::NoGradGuard no_grad;
  const auto unet = models::load_part<models::Unet>(repository(), "unet", at::kCPU, at::kFloat).model;
  const at::Tensor text = at::randn({3, 16, unet->config.cross_attention_dim});
  const at::Tensor sample = at::randn({2, 4, 8, 8}), t = at::tensor({500, 20}, at::kLong);
  const at::Tensor rows = at::tensor({2, 0}, at::kLong);
  const UnetDenoiser denoiser(*unet, text);
  const at::Tensor predicted = denoiser.select({2, 0}).predict(sample, t);
  EXPECT_TRUE(at::equal(predicted, unet->forward(sample, t, unet->prepare({.text = text.index_select(0, rows)}))));
  EXPECT_FALSE(at::allclose(predicted, denoiser.select({0, 2}).predict(sample, t)));
}

// Latents that a diffusion model sees are (z - shift) · scale.
TEST(PictureCodec, LatentsAreShiftedAndScaledBothWays) {
  c10::NoGradGuard no_grad;
  const nn::Weights weights = models::part_weights(repository(), "vae", at::kCPU, at::kFloat);
  models::VaeConfig config = models::VaeConfig::read(models::part_config(repository(), "vae"));
  config.shift_factor = 0.3;
  config.scaling_factor = 0.7;
  const models::Vae vae(config, weights);
  const at::Tensor pixels = at::rand({2, 3, 16, 16}) * 2 - 1;
  const models::VaeMoments moments = vae.encode(pixels);
  const LatentDistribution latents = encode(vae, pixels);
  EXPECT_TRUE(at::allclose(latents.mean, (moments.mean - 0.3) * 0.7, 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(latents.deviation, (0.5 * moments.logvar).exp() * 0.7, 1e-5, 1e-6));
  EXPECT_TRUE(at::allclose(decode(vae, latents.mean), vae.decode(moments.mean), 1e-4, 1e-4));
}

TEST(PictureCodec, ManyPicturesAreDecodedAsEachAlone) {
  c10::NoGradGuard no_grad;
  const auto vae = models::load_part<models::Vae>(repository(), "vae", at::kCPU, at::kFloat).model;
  const at::Tensor latents = at::randn({5, 4, 48, 40});  // 80 × 96 pixels: two at a time
  const std::vector<image::Image> pictures = decode_pictures(*vae, latents);
  ASSERT_EQ(pictures.size(), 5u);
  for (int64_t i = 0; i < 5; ++i) {
    const image::Image alone = image::from_signed_unit(decode(*vae, latents.narrow(0, i, 1)));
    ASSERT_EQ(alone.pixels.size(), pictures[static_cast<size_t>(i)].pixels.size());
    int largest = 0;
    for (size_t p = 0; p < alone.pixels.size(); ++p) {
      largest = std::max(largest, std::abs(alone.pixels[p] - pictures[static_cast<size_t>(i)].pixels[p]));
    }
    EXPECT_LE(largest, 1);
  }
}

}  // namespace
}  // namespace readback::generate
