// Full-size models against their references: tools/reference/full_size_metrics.py writes the folder that
// READBACK_FULL_SIZE_METRICS names.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>

#include "../device.h"
#include "readback/base/files.h"
#include "readback/image/codec.h"
#include "readback/score/dino_embedder.h"
#include "readback/score/image/frechet.h"
#include "readback/score/image/inception_extractor.h"
#include "readback/score/image/inception_score.h"
#include "readback/score/image/kernel_distance.h"
#include "readback/score/sentence_embedder.h"

namespace readback::score {
namespace {

namespace fs = std::filesystem;

class FullSize : public testing::Test {
 protected:
  void SetUp() override {
    const char* name = std::getenv("READBACK_FULL_SIZE_METRICS");
    if (name == nullptr) GTEST_SKIP() << "READBACK_FULL_SIZE_METRICS is not set";
    folder = name;
    tensors = checkpoint::load_safetensors(folder / "reference.safetensors");
    values = read_json(folder / "reference.json");
  }

  // Largest difference over largest expected magnitude.
  void expect_close(const at::Tensor& actual, const std::string& name) const {
    const at::Tensor& expected = tensors.at(name);
    ASSERT_EQ(actual.sizes(), expected.sizes()) << name;
    const double error = ((actual - expected).abs().max() / expected.abs().max()).item<double>();
    std::printf("%s: %.1e\n", name.c_str(), error);
    EXPECT_LT(error, 1e-4) << name;
  }

  void expect_close(double actual, const char* name) const {
    const double expected = values.at(name), error = std::abs(actual - expected) / std::abs(expected);
    std::printf("%s: %.8g, expected %.8g (%.1e)\n", name, actual, expected, error);
    EXPECT_LT(error, 1e-3) << name;
  }

  fs::path folder;
  checkpoint::TensorMap tensors;
  nlohmann::json values;
};

TEST_F(FullSize, Inception) {
  InceptionOptions options;
  const char* const layers[] = {"64", "192", "768", "2048", "logits_unbiased", "logits"};
  for (const char* layer : layers) options.layers.insert(models::inception_layer(layer));
  const InceptionExtractor every(folder / "inception.pth", test_device(), options);
  const std::vector<fs::path> a = list_images(folder / "a"), b = list_images(folder / "b");
  const models::InceptionFeatures few = every.extract(std::span(a).first(8));
  for (const char* layer : layers) {
    expect_close(few.at(models::inception_layer(layer)), std::string("inception.") + layer);
  }

  const InceptionExtractor extractor(folder / "inception.pth", test_device());
  const models::InceptionFeatures first = extractor.extract(a), second = extractor.extract(b);
  const at::Tensor &x = first.at(models::InceptionLayer::k2048), &y = second.at(models::InceptionLayer::k2048);
  expect_close(frechet_distance(gaussian_statistics(x), gaussian_statistics(y)), "frechet_inception_distance");
  const KernelDistance kernel =
      kernel_distance(x, y, {.subsets = values.at("kid_subsets"), .subset_size = values.at("kid_subset_size")});
  expect_close(kernel.mean, "kernel_inception_distance_mean");
  expect_close(kernel.deviation, "kernel_inception_distance_std");
  const InceptionScore score = inception_score(first.at(models::InceptionLayer::kLogitsUnbiased));
  expect_close(score.mean, "inception_score_mean");
  expect_close(score.deviation, "inception_score_std");
}

TEST_F(FullSize, Dino) {
  std::vector<image::Image> pictures;
  for (const fs::path& file : list_images(folder / "a")) {
    pictures.push_back(image::load(file, image::Alpha::kOnWhite));
    if (pictures.size() == 3) break;
  }
  const image::Image* const images[] = {&pictures[0], &pictures[1], &pictures[2]};
  for (const std::string name : {"dino-vits16", "dino-vitb8"}) {
    const checkpoint::Repository repository((folder / name).string());
    const auto tokens = [&](const DinoOptions& options) {
      return DinoEmbedder(repository, test_device(), at::kFloat, options).embed_images(images).pooled;
    };
    expect_close(tokens({}), name + ".224");
    expect_close(tokens({.side = 384}), name + ".384");
    expect_close(tokens({.side = 384, .scaling = models::PositionScaling::kExactSize}), name + ".384-exact-size");
  }
}

TEST_F(FullSize, SentenceEncoder) {
  SentenceEmbedder embedder(checkpoint::Repository((folder / "minilm").string()), test_device(), at::kFloat);
  const std::vector<std::string> texts = read_json(folder / "minilm/texts.json");
  expect_close(embedder.embed_texts(texts).projected, "minilm");
}

TEST_F(FullSize, Speed) {
  using Clock = std::chrono::steady_clock;
  const auto seconds_since = [](Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  const char* batch = std::getenv("READBACK_BATCH_SIZE");
  const int64_t size = batch == nullptr ? 32 : std::stoll(batch);
  const InceptionExtractor extractor(folder / "inception.pth", test_device(), {.batch_size = size});
  const std::vector<fs::path> files = list_images(folder / "a");
  Clock::time_point start = Clock::now();
  ASSERT_EQ(extractor.extract(files).at(models::InceptionLayer::k2048).size(0), static_cast<int64_t>(files.size()));
  const double from_files = static_cast<double>(files.size()) / seconds_since(start);
  const image::Image picture = image::load(files.front(), image::Alpha::kOnWhite);
  const std::vector<const image::Image*> pictures(static_cast<size_t>(size), &picture);
  extractor.extract(pictures);
  start = Clock::now();
  for (int i = 0; i < 3; ++i) extractor.extract(pictures);
  std::printf("readback: %.1f pictures/s from files, %.1f pictures/s in memory, batches of %lld, %d threads\n",
              from_files, 3.0 * static_cast<double>(size) / seconds_since(start), static_cast<long long>(size),
              at::get_num_threads());
}

}  // namespace
}  // namespace readback::score
