#include "readback/score/image/inception_input.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "readback/base/error.h"
#include "readback/image/resize.h"
#include "readback/models/inception/inception.h"

namespace readback::score {

namespace {

constexpr int64_t kSide = models::Inception::kSide;
constexpr std::pair<InceptionMode, const char*> kModes[] = {
    {InceptionMode::kTorchFidelity, "torch-fidelity"},
    {InceptionMode::kCleanFid, "clean-fid"},
    {InceptionMode::kPaper, "paper"},
};

float scaled(float value) { return (value - 128) / 128; }

// TensorFlow 1's sampling: target position p reads source position p · source / target, without half a pixel's shift.
struct Samples {
  std::array<int64_t, kSide> low, high;
  std::array<float, kSide> share;  // of `high`
  explicit Samples(int64_t size) {
    const auto scale = static_cast<float>(static_cast<double>(size) / static_cast<double>(kSide));
    for (int64_t i = 0; i < kSide; ++i) {
      const float position = static_cast<float>(i) * scale;
      low[i] = static_cast<int64_t>(position);
      high[i] = std::min(low[i] + 1, size - 1);
      share[i] = position - static_cast<float>(low[i]);
    }
  }
};

void resize_like_tensorflow(const image::Image& image, float* target) {
  const Samples across(image.width), down(image.height);
  for (int64_t y = 0; y < kSide; ++y) {
    const uint8_t *upper = image.at(0, down.low[y]), *lower = image.at(0, down.high[y]);
    for (int64_t x = 0; x < kSide; ++x) {
      const int64_t left = across.low[x] * 3, right = across.high[x] * 3;
      for (int64_t c = 0; c < 3; ++c) {
        const float upper_left = upper[left + c], upper_right = upper[right + c];
        const float lower_left = lower[left + c], lower_right = lower[right + c];
        const float above = upper_left + (upper_right - upper_left) * across.share[x];
        const float below = lower_left + (lower_right - lower_left) * across.share[x];
        target[(y * kSide + x) * 3 + c] = scaled(above + (below - above) * down.share[y]);
      }
    }
  }
}

void resize_like_clean_fid(const image::Image& image, float* target) {
  const std::vector<float> resized = image::resize_unrounded(image, kSide, kSide, image::Filter::kBicubic);
  std::transform(resized.begin(), resized.end(), target,
                 [](float value) { return scaled(std::clamp(value, 0.0F, 255.0F)); });
}

void write_input(const image::Image& image, InceptionMode mode, float* target) {
  if (image.width < 1 || image.height < 1) throw DataError(describe("Inception", "a picture", "an empty one"));
  if (mode == InceptionMode::kCleanFid) return resize_like_clean_fid(image, target);
  if (mode == InceptionMode::kTorchFidelity) return resize_like_tensorflow(image, target);
  constexpr int64_t kPaperSide = 384;
  resize_like_tensorflow(image::resize(image, kPaperSide, kPaperSide, image::Filter::kBicubic), target);
}

}  // namespace

InceptionMode inception_mode(const std::string& name) {
  std::string names;
  for (const auto& [mode, known] : kModes) {
    if (name == known) return mode;
    names += (names.empty() ? "" : ", ") + std::string(known);
  }
  throw UsageError(describe("Inception mode", names, name));
}

const char* name_of(InceptionMode mode) {
  return std::find_if(std::begin(kModes), std::end(kModes), [&](const auto& entry) { return entry.first == mode; })
      ->second;
}

at::Tensor inception_input(int64_t count, const std::function<image::Image(int64_t)>& picture, InceptionMode mode) {
  at::Tensor pixels = at::empty({count, kSide, kSide, 3}, at::kFloat);
  float* target = pixels.mutable_data_ptr<float>();
  at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) write_input(picture(i), mode, target + i * kSide * kSide * 3);
  });
  return pixels.permute({0, 3, 1, 2});
}

}  // namespace readback::score
