// From pictures to the tensors that models read, and back.
#pragma once
#include <ATen/core/Tensor.h>

#include <array>
#include <optional>
#include <string>

#include "readback/checkpoint/config_reader.h"
#include "readback/checkpoint/repository.h"
#include "readback/image/image.h"
#include "readback/image/resize.h"

namespace readback::image {

// What a repository's preprocessor_config.json says, in the order in which it is applied. The defaults are those of
// CLIPImageProcessor.
struct PreprocessOptions {
  bool do_resize = true;
  std::optional<int64_t> shortest_edge = 224;  // the shorter side becomes this, the longer keeps the ratio (floor) …
  int64_t height = 0, width = 0;               // … otherwise both sides become these
  Filter resample = Filter::kBicubic;
  bool do_center_crop = true;
  int64_t crop_height = 224, crop_width = 224;  // smaller pictures are laid on black
  bool do_rescale = true;
  double rescale_factor = 1.0 / 255.0;
  bool do_normalize = true;
  std::array<double, 3> image_mean = {0.48145466, 0.4578275, 0.40821073};
  std::array<double, 3> image_std = {0.26862954, 0.26130258, 0.27577711};
};

// BlipImageProcessor, CLIPImageProcessor, IdeficsImageProcessor and ViTImageProcessor (also …Fast, …Pil and
// …FeatureExtractor), with the defaults of each, in their old ("size": 224) and new ({"shortest_edge": 224}) spellings.
// Errors: CheckpointError for another processor, other filters than bilinear, bicubic and Lanczos, sizes by other
// bounds, and every key that is not known.
PreprocessOptions read_preprocess_options(checkpoint::ConfigReader reader);

// From `subfolder`'s preprocessor_config.json, or the "image_processor" of processor_config.json, where transformers 5
// puts it. Errors: CheckpointError.
PreprocessOptions read_preprocess_options(const checkpoint::Repository& repository, const std::string& subfolder = "");

// float32 [3, H, W] on the CPU, for one picture; equal to transformers' processors of the PIL backend.
//
// transformers 5 prefers its torchvision backend (formerly "Fast"), which resizes by torch's kernels, in another order
// than Pillow for many upright photos. Over the photos of coco-mini 3.7 % of BLIP's values fall on another of the 255
// levels (mean 0.04 levels, largest 13), and 0.4 % of CLIP's (largest 1). Pillow is followed here.
// `python tools/reference/images.py --measure` repeats the comparison.
// Errors: DataError as resize().
at::Tensor preprocess(const Image& image, const PreprocessOptions& options);

// Stable Diffusion's pixels: float32 [3, H, W] = 2 · x / 255 − 1, as diffusers' VaeImageProcessor.
at::Tensor to_signed_unit(const Image& image);

// [3, H, W] or [1, 3, H, W] of any floating type and device → x / 2 + 0.5, clipped to [0, 1], · 255, rounded half to
// even; NaN becomes 0. Errors: DataError for another shape.
Image from_signed_unit(const at::Tensor& pixels);

}  // namespace readback::image
