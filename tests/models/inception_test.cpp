#include "readback/models/inception/inception.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "golden.h"
#include "hashed.h"
#include "readback/base/error.h"
#include "tests/source_dir.h"

namespace readback::models {
namespace {

namespace fs = std::filesystem;

const char* const kLayers[] = {"64", "192", "768", "2048", "logits_unbiased", "logits"};

Inception make(checkpoint::TensorMap tensors) {
  at::set_num_threads(1);
  const nn::Weights weights(std::move(tensors), test_device(), at::kFloat, "inception");
  Inception inception(weights);
  weights.finish();
  return inception;
}

at::Tensor golden_pixels() {
  const at::Tensor bytes = (hashed("pixels", {2, 299, 299, 3}) * 127 + 128).floor();
  return ((bytes - 128) / 128).permute({0, 3, 1, 2}).to(test_device());
}

TEST(Inception, EveryLayerAsTorchFidelity) {
  const auto golden =
      checkpoint::load_safetensors(tests::source_dir() / "tests/goldens/models/inception/golden.safetensors");
  Inception inception = make(hashed_inception());
  at::NoGradGuard no_grad;
  std::set<InceptionLayer> all;
  for (const char* name : kLayers) all.insert(inception_layer(name));
  const at::Tensor pixels = golden_pixels();
  const InceptionFeatures features = inception.forward(pixels, all);
  ASSERT_EQ(features.size(), all.size());
  for (const char* name : kLayers) {
    EXPECT_LT(relative_error(features.at(inception_layer(name)), golden.at(name)), kTolerance) << name;
  }
  // Each layer asked for by itself, where the network stops early.
  for (const InceptionLayer layer : all) {
    const InceptionFeatures one = inception.forward(pixels.narrow(0, 0, 1), {layer});
    ASSERT_EQ(one.size(), 1);
    EXPECT_LT(relative_error(one.at(layer), features.at(layer).narrow(0, 0, 1)), kTolerance);
  }
}

TEST(Inception, FoldsTheNormsRunningStatistics) {
  const auto golden =
      checkpoint::load_safetensors(tests::source_dir() / "tests/goldens/models/inception/golden.safetensors");
  checkpoint::TensorMap tensors = hashed_inception();
  tensors.at("Mixed_7c.branch_pool.bn.running_mean") += 0.01;
  at::NoGradGuard no_grad;
  const at::Tensor features =
      make(std::move(tensors)).forward(golden_pixels(), {InceptionLayer::k2048}).at(InceptionLayer::k2048);
  EXPECT_GT(relative_error(features, golden.at("2048")), 10 * kTolerance);
}

TEST(Inception, RefusesOtherPicturesLayersAndKeys) {
  Inception inception = make(hashed_inception());
  EXPECT_THROW(inception.forward(at::zeros({1, 3, 224, 224}, test_device()), {InceptionLayer::k64}), UsageError);
  EXPECT_TRUE(inception.forward(at::zeros({1, 3, 299, 299}, test_device()), {}).empty());
  EXPECT_THROW(inception_layer("1024"), UsageError);
  checkpoint::TensorMap tensors = hashed_inception();
  tensors.erase("Mixed_5b.branch1x1.bn.running_mean");
  tensors["AuxLogits.fc.weight"] = at::zeros({1});
  const std::string message = checkpoint_error([&] { make(tensors); });
  EXPECT_NE(message.find("missing (1):\n    Mixed_5b.branch1x1.bn.running_mean"), std::string::npos) << message;
  EXPECT_NE(message.find("unexpected (1):\n    AuxLogits.fc.weight"), std::string::npos) << message;
}

TEST(Inception, FindsWeightsInFilesAndFolders) {
  const fs::path goldens = tests::source_dir() / "tests/goldens";
  const fs::path folder = fs::temp_directory_path() / ("readback-inception-" + std::to_string(getpid()));
  fs::create_directories(folder);
  EXPECT_EQ(load_inception_tensors((goldens / "models/inception/golden.safetensors").string()).size(), 6);
  const auto expected = load_inception_tensors((goldens / "checkpoint/nested.pth").string());
  EXPECT_FALSE(expected.empty());
  fs::copy(goldens / "checkpoint/nested.pth", folder / "weights-inception.pth");
  EXPECT_EQ(load_inception_tensors(folder.string()).size(), expected.size());
  fs::copy(goldens / "models/inception/golden.safetensors", folder / "model.safetensors");
  EXPECT_EQ(load_inception_tensors(folder.string()).size(), 6);
  EXPECT_THROW(load_inception_tensors((folder / "none").string()), CheckpointError);
  fs::remove_all(folder);
}

}  // namespace
}  // namespace readback::models
