// What diffusers' pipelines drew for the tiny repositories in tests/goldens/generate.
#pragma once
#include <ATen/ATen.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "../device.h"
#include "readback/generate/generator.h"
#include "readback/generate/latents.h"
#include "tests/source_dir.h"

namespace readback::generate {

inline constexpr double kTolerance = 1e-4;  // of the largest value

inline const std::filesystem::path kGoldens = tests::source_dir() / "tests/goldens/generate";

inline GenerationOptions options_of(const nlohmann::json& run) {
  GenerationOptions options;
  if (run.contains("scheduler")) options.scheduler = run["scheduler"].get<std::string>();
  options.num_inference_steps = run["num_inference_steps"];
  options.guidance_scale = run["guidance_scale"];
  options.negative_prompt = run.value("negative_prompt", "");
  if (run.contains("height")) options.height = run["height"].get<int64_t>();
  if (run.contains("width")) options.width = run["width"].get<int64_t>();
  options.seed = 7;
  return options;
}

inline std::vector<Request> requests_for(const std::vector<std::string>& prompts) {
  std::vector<Request> requests;
  for (size_t i = 0; i < prompts.size(); ++i)
    requests.push_back({prompts[i], fmt::format("sample {}", i), static_cast<int64_t>(i), {}});
  return requests;
}

inline int largest_difference(const image::Image& image, const uint8_t* expected) {
  int largest = 0;
  for (size_t i = 0; i < image.pixels.size(); ++i) largest = std::max(largest, std::abs(image.pixels[i] - expected[i]));
  return largest;
}

// latents: [B, c, h, w]; images: uint8 [B, H, W, 3]
inline void expect_pictures(const std::vector<Picture>& pictures, const at::Tensor& latents, const at::Tensor& images) {
  ASSERT_EQ(std::ssize(pictures), latents.size(0));
  for (int64_t row = 0; row < latents.size(0); ++row) {
    const Picture& picture = pictures[static_cast<size_t>(row)];
    ASSERT_EQ(picture.latents.shape, latents[row].sizes().vec());
    EXPECT_LT(relative_error(to_tensor(picture.latents), latents[row]), kTolerance);
    ASSERT_EQ(picture.image.height, images.size(1));
    ASSERT_EQ(picture.image.width, images.size(2));
    EXPECT_LE(largest_difference(picture.image, images[row].contiguous().const_data_ptr<uint8_t>()), 1);
  }
}

}  // namespace readback::generate
