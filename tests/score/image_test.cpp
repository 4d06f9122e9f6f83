// FID, KID, Inception Score, PSNR and SSIM against torch-fidelity and torchmetrics (tools/reference/image_metrics.py).
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>

#include "../device.h"
#include "../models/hashed.h"
#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/image/codec.h"
#include "readback/score/image/frechet.h"
#include "readback/score/image/inception_extractor.h"
#include "readback/score/image/inception_score.h"
#include "readback/score/image/kernel_distance.h"
#include "readback/score/image/numpy_random.h"
#include "readback/score/image/pixel.h"
#include "tests/source_dir.h"

namespace readback::score {
namespace {

namespace fs = std::filesystem;
using models::picture;

const fs::path kGoldens = tests::source_dir() / "tests/goldens/score";

const nlohmann::json& expected() {
  static const nlohmann::json values = read_json(kGoldens / "images.json");
  return values;
}

at::Tensor tensor(const std::string& name) {
  static const checkpoint::TensorMap tensors = checkpoint::load_safetensors(kGoldens / "images.safetensors");
  return tensors.at(name);
}

struct Folder {
  fs::path path = fs::temp_directory_path() / ("readback-images-" + std::to_string(getpid()));
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
};

double difference(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

TEST(NumpyRandomState, PermutationsOfNumpy) {
  for (const auto& [n, order] : expected().at("permutations").items()) {
    EXPECT_EQ(NumpyRandomState(2020).permutation(std::stoll(n)), order.get<std::vector<int64_t>>());
  }
}

TEST(Frechet, AsTorchFidelity) {
  const GaussianStatistics a = gaussian_statistics(tensor("a")), b = gaussian_statistics(tensor("b"));
  const GaussianStatistics few = gaussian_statistics(tensor("few"));  // 9 samples of 16 features: not full rank
  const GaussianStatistics other = gaussian_statistics(tensor("few") * 1.1 + 0.3);
  EXPECT_NEAR(frechet_distance(a, b), expected().at("fid"), 1e-9);
  EXPECT_NEAR(frechet_distance(b, a), expected().at("fid"), 1e-9);
  EXPECT_NEAR(frechet_distance(few, a), expected().at("fid-few"), 1e-6);
  EXPECT_NEAR(frechet_distance(few, other), expected().at("fid-few-few"), 1e-6);
  EXPECT_NEAR(frechet_distance(a, a), 0, 1e-9);
}

TEST(Frechet, OfFeaturesIsThatOfTheirStatistics) {
  const at::Tensor few = tensor("few"), other = few.narrow(0, 0, 6) * 1.1 + 0.3;  // fewer samples than features
  EXPECT_NEAR(frechet_distance(few, other), frechet_distance(gaussian_statistics(few), gaussian_statistics(other)),
              1e-9);
  EXPECT_EQ(frechet_distance(tensor("a"), tensor("b")),
            frechet_distance(gaussian_statistics(tensor("a")), gaussian_statistics(tensor("b"))));
  EXPECT_THROW(frechet_distance(few.narrow(0, 0, 1), other), DataError);
  EXPECT_THROW(frechet_distance(few, few.narrow(1, 0, 3)), DataError);
  EXPECT_THROW(frechet_distance(few, other / 0), DataError);
}

TEST(Frechet, BatchesAndFilesGiveTheSameStatistics) {
  const at::Tensor features = tensor("a") + 1000;  // a mean that would swamp sums of squares
  const GaussianStatistics whole = gaussian_statistics(features, "source");
  GaussianAccumulator accumulator;
  for (const at::Tensor& part : features.split(7)) accumulator.add(part);
  accumulator.add(features.narrow(0, 0, 0));
  const GaussianStatistics parts = accumulator.finish("source");
  EXPECT_LT(difference(parts.mu, whole.mu), 1e-9);
  EXPECT_LT(difference(parts.sigma, whole.sigma), 1e-9);
  const Folder folder;
  save_statistics(parts, folder.path / "a.safetensors");
  const GaussianStatistics loaded = load_statistics(folder.path / "a.safetensors");
  EXPECT_EQ(loaded.n, 60);
  EXPECT_EQ(loaded.source, "source");
  EXPECT_NEAR(frechet_distance(loaded, gaussian_statistics(tensor("b") + 1000)), expected().at("fid"), 1e-6);
}

TEST(Frechet, RefusesWhatHasNoAnswer) {
  EXPECT_THROW(gaussian_statistics(tensor("a").narrow(0, 0, 1)), DataError);
  EXPECT_THROW(gaussian_statistics(at::full({3, 2}, std::nan(""))), DataError);
  EXPECT_THROW(gaussian_statistics(tensor("a")[0]), DataError);
  GaussianAccumulator accumulator;
  accumulator.add(tensor("a"));
  EXPECT_THROW(accumulator.add(at::zeros({2, 3})), DataError);
  EXPECT_THROW(frechet_distance(gaussian_statistics(tensor("a")), gaussian_statistics(tensor("logits"))), DataError);
  EXPECT_THROW(frechet_distance(gaussian_statistics(tensor("a"), "paper"), gaussian_statistics(tensor("b"), "clean")),
               DataError);
  const Folder folder;
  checkpoint::save_safetensors({{"mu", at::zeros({3})}, {"n", at::tensor(5)}}, folder.path / "no_sigma.safetensors");
  EXPECT_THROW(load_statistics(folder.path / "no_sigma.safetensors"), DataError);
  checkpoint::save_safetensors({{"mu", at::zeros({3})}, {"sigma", at::zeros({2, 2})}, {"n", at::tensor(5)}},
                               folder.path / "shapes.safetensors");
  EXPECT_THROW(load_statistics(folder.path / "shapes.safetensors"), DataError);
}

TEST(Frechet, WarnsOfFewSamplesWithTheDirection) {
  EXPECT_NE(few_samples_warning(500).find("biased upwards"), std::string::npos);
  EXPECT_FALSE(few_samples_warning(2047).empty());
  EXPECT_TRUE(few_samples_warning(2048).empty());
}

TEST(KernelDistance, AsTorchFidelity) {
  const KernelDistance all = kernel_distance(tensor("a"), tensor("b"), {.subsets = 100, .subset_size = 20});
  EXPECT_NEAR(all.mean, expected().at("kid-all-at-once")[0], 1e-9);
  EXPECT_NEAR(all.deviation, expected().at("kid-all-at-once")[1], 1e-9);
  const KernelDistance single = kernel_distance(tensor("a"), tensor("b"), {.subsets = 3, .subset_size = 20});
  EXPECT_NEAR(single.mean, expected().at("kid-by-subset")[0], 1e-9);
  EXPECT_NEAR(single.deviation, expected().at("kid-by-subset")[1], 1e-9);
}

TEST(KernelDistance, RefusesWhatHasNoAnswer) {
  EXPECT_THROW(kernel_distance(tensor("a"), tensor("b"), {.subset_size = 51}), DataError);
  EXPECT_THROW(kernel_distance(tensor("a"), tensor("b"), {.subset_size = 1}), DataError);
  EXPECT_THROW(kernel_distance(tensor("a"), tensor("logits"), {.subset_size = 9}), DataError);
  EXPECT_THROW(kernel_distance(tensor("a"), tensor("b") * std::nan(""), {.subset_size = 9}), DataError);
}

TEST(InceptionScore, AsTorchFidelity) {
  const InceptionScore shuffled = inception_score(tensor("logits"), {.splits = 5});
  EXPECT_NEAR(shuffled.mean, expected().at("isc")[0], 1e-9);
  EXPECT_NEAR(shuffled.deviation, expected().at("isc")[1], 1e-9);
  const InceptionScore in_order = inception_score(tensor("logits"), {.splits = 4, .shuffle = false});
  EXPECT_NEAR(in_order.mean, expected().at("isc-in-order")[0], 1e-9);
  EXPECT_NEAR(in_order.deviation, expected().at("isc-in-order")[1], 1e-9);
}

TEST(InceptionScore, StaysFiniteAndRefusesTooFewImages) {
  const at::Tensor certain = at::eye(4, at::kDouble) * 5000;  // all other classes underflow to no probability
  EXPECT_NEAR(inception_score(certain, {.splits = 1}).mean, 4, 1e-9);
  EXPECT_THROW(inception_score(tensor("logits"), {.splits = 38}), DataError);
  EXPECT_THROW(inception_score(tensor("logits") * std::nan("")), DataError);
}

TEST(Pixels, AsTorchmetrics) {
  for (const auto& row : expected().at("pixels")) {
    const int64_t width = row.at("width"), height = row.at("height"), seed = row.at("seed");
    const image::Image a = picture(width, height, seed);
    image::Image b = picture(width, height, seed + 1);
    for (size_t i = 0; i < b.pixels.size(); ++i) {
      if (row.at("other") == "brighter") b.pixels[i] = static_cast<uint8_t>(std::min(a.pixels[i] + 9, 255));
      if (row.at("other") == "flat") b.pixels[i] = 117;
    }
    EXPECT_NEAR(psnr(a, b), row.at("psnr"), 2e-6) << row;  // its logarithms are fp32
    EXPECT_NEAR(ssim(a, b), row.at("ssim"), 1e-9) << row;
    EXPECT_EQ(psnr(a, a), std::numeric_limits<double>::infinity());
    EXPECT_NEAR(ssim(a, a), 1, 1e-12);
  }
}

TEST(Pixels, RefuseOtherSizes) {
  EXPECT_THROW(psnr(picture(5, 4, 0), picture(4, 5, 0)), DataError);
  EXPECT_THROW(psnr(image::Image(), image::Image()), DataError);
  EXPECT_THROW(ssim(picture(30, 5, 0), picture(30, 5, 0)), DataError);
  EXPECT_THROW(ssim(picture(30, 20, 0), picture(30, 21, 0)), DataError);
}

image::Image golden_picture(int64_t i) {
  const auto& size = expected().at("pictures").at(i);
  return picture(size[0], size[1], i);
}

TEST(InceptionInput, EachModeAsItsReference) {
  const auto count = static_cast<int64_t>(expected().at("pictures").size());
  for (const char* mode : {"torch-fidelity", "clean-fid", "paper"}) {
    const at::Tensor pixels = inception_input(count, golden_picture, inception_mode(mode));
    ASSERT_EQ(pixels.sizes(), at::IntArrayRef({count, 3, 299, 299}));
    EXPECT_STREQ(name_of(inception_mode(mode)), mode);
    for (int64_t i = 0; i < count; ++i) {
      const at::Tensor sampled = pixels[i].slice(1, 0, 299, 13).slice(2, 0, 299, 13);
      EXPECT_EQ(difference(sampled, tensor(fmt::format("{}.{}", mode, i))), 0) << mode << ", picture " << i;
    }
  }
  EXPECT_THROW(inception_mode("pytorch"), UsageError);
  EXPECT_THROW(inception_input(
                   1, [](int64_t) { return image::Image(); }, InceptionMode::kTorchFidelity),
               DataError);
}

TEST(InceptionExtractor, PicturesOfAllSizesInBatchesAndFromFiles) {
  at::set_num_threads(1);
  const Folder folder;
  checkpoint::save_safetensors(models::hashed_inception(), folder.path / "model.safetensors");
  InceptionExtractor extractor(folder.path.string(), test_device(), {.batch_size = 3});
  const auto count = static_cast<int64_t>(expected().at("pictures").size());
  const models::InceptionFeatures features = extractor.extract(count, golden_picture);
  const at::Tensor& pool = features.at(models::InceptionLayer::k2048);
  const at::Tensor& logits = features.at(models::InceptionLayer::kLogitsUnbiased);
  ASSERT_EQ(pool.size(0), count);
  for (int64_t i = 0; i < count; ++i) {
    const std::string index = std::to_string(i);
    EXPECT_LT(difference(pool[i], tensor("features." + index)), 1e-4) << i;
    EXPECT_LT(difference(logits[i], tensor("logits_unbiased." + index)), 1e-4) << i;
    image::save(golden_picture(i), folder.path / ("picture" + index + ".PNG.png"));
  }
  write_file(folder.path / "notes.txt", "no picture");
  const std::vector<fs::path> files = list_images(folder.path);
  ASSERT_EQ(static_cast<int64_t>(files.size()), count);
  EXPECT_LT(difference(extractor.extract(files).at(models::InceptionLayer::k2048), pool), 1e-4);
  const image::Image last = golden_picture(count - 1);
  const image::Image* pointers[] = {&last};
  EXPECT_LT(difference(extractor.extract(pointers).at(models::InceptionLayer::k2048)[0], pool[count - 1]), 1e-4);
  EXPECT_NE(extractor.source().find("torch-fidelity"), std::string::npos);
  // The first batch does not fit.
  std::atomic<bool> full = true;
  const auto picture = [&](int64_t i) {
    if (full.exchange(false)) throw OutOfMemory("no room");
    return golden_picture(i);
  };
  EXPECT_LT(difference(extractor.extract(count, picture).at(models::InceptionLayer::k2048), pool), 1e-4);

  EXPECT_THROW(extractor.extract(std::span<const fs::path>()), DataError);
  write_file(folder.path / "broken.png", "no picture either");
  const fs::path broken[] = {files[0], folder.path / "broken.png"};
  EXPECT_THROW(extractor.extract(broken), DataError);
  EXPECT_THROW(list_images(folder.path / "none"), DataError);
  EXPECT_THROW(InceptionExtractor(folder.path.string(), test_device(), {.batch_size = 0}), UsageError);
}

}  // namespace
}  // namespace readback::score
