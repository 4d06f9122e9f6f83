#include "readback/image/preprocess.h"

#include <ATen/ATen.h>
#include <c10/util/StringUtil.h>

#include <cmath>
#include <cstring>

#include "readback/base/error.h"
#include "readback/image/preprocess_config.h"

namespace readback::image {
namespace {

using checkpoint::ConfigReader;
using Levels = std::array<std::array<float, 256>, 3>;  // what each 8-bit value of each channel becomes

PreprocessOptions defaults_of(ConfigReader& reader) {
  const std::string type = processor_type(reader);
  if (type == "CLIP") return {};
  if (type == "Blip") return {.shortest_edge = std::nullopt, .height = 384, .width = 384, .do_center_crop = false};
  if (type == "ViT") {
    return {.shortest_edge = std::nullopt,
            .height = 224,
            .width = 224,
            .resample = Filter::kBilinear,
            .do_center_crop = false,
            .image_mean = {0.5, 0.5, 0.5},
            .image_std = {0.5, 0.5, 0.5}};
  }
  if (type == "Idefics") {
    const int64_t side = reader.get<int64_t>("image_size", 224);
    reader.expect("image_num_channels", {3});
    return {.shortest_edge = std::nullopt, .height = side, .width = side, .do_center_crop = false};
  }
  throw CheckpointError(describe(reader.where(),
                                 "a BlipImageProcessor, CLIPImageProcessor, IdeficsImageProcessor or ViTImageProcessor",
                                 type.empty() ? "no image_processor_type" : reader.raw().dump()));
}

bool is_number(const ConfigReader& reader, const std::string& key) {
  return reader.has(key) && reader.raw().at(key).is_number();
}

void read_size(ConfigReader& reader, PreprocessOptions& options) {
  const bool square = reader.get<bool>("default_to_square", !options.shortest_edge.has_value());
  if (is_number(reader, "size")) {
    const int64_t side = require_side(reader, "size");
    options.shortest_edge = square ? std::nullopt : std::optional(side);
    options.height = options.width = side;
  } else if (reader.has("size")) {
    ConfigReader size = reader.section("size");
    if (size.has("shortest_edge")) {
      options.shortest_edge = require_side(size, "shortest_edge");
    } else {
      options.shortest_edge = std::nullopt;
      options.height = require_side(size, "height");
      options.width = require_side(size, "width");
    }
    size.finish();
  }
}

void read_crop_size(ConfigReader& reader, PreprocessOptions& options) {
  if (is_number(reader, "crop_size")) {
    options.crop_height = options.crop_width = require_side(reader, "crop_size");
  } else if (reader.has("crop_size")) {
    ConfigReader size = reader.section("crop_size");
    options.crop_height = require_side(size, "height");
    options.crop_width = require_side(size, "width");
    size.finish();
  }
}

Image resize_as(const Image& image, const PreprocessOptions& options) {
  if (!options.shortest_edge) return resize(image, options.width, options.height, options.resample);
  const int64_t shorter = *options.shortest_edge;
  const int64_t sides[] = {image.width, image.height};
  const auto [smallest, largest] = std::minmax(sides[0], sides[1]);
  const auto longer = static_cast<int64_t>(static_cast<double>(shorter * largest) / static_cast<double>(smallest));
  return image.width <= image.height ? resize(image, shorter, longer, options.resample)
                                     : resize(image, longer, shorter, options.resample);
}

// Half of what is too much, or too little, is taken off or added on either side; of an odd pixel, the top and left lose
// less and gain more.
Image center_crop(const Image& image, int64_t width, int64_t height) {
  const auto half_down = [](int64_t difference) { return (difference - (difference < 0)) / 2; };
  const int64_t left = half_down(image.width - width), top = half_down(image.height - height);
  Image cropped(width, height);
  const int64_t first_x = std::max<int64_t>(0, -left), end_x = std::min(width, image.width - left);
  const int64_t first_y = std::max<int64_t>(0, -top), end_y = std::min(height, image.height - top);
  for (int64_t y = first_y; y < end_y; ++y) {
    std::memcpy(cropped.at(first_x, y), image.at(first_x + left, y + top), static_cast<size_t>(end_x - first_x) * 3);
  }
  return cropped;
}

Levels levels_of(const PreprocessOptions& options) {
  Levels levels;
  for (int c = 0; c < 3; ++c) {
    const auto mean = static_cast<float>(options.image_mean[c]), std = static_cast<float>(options.image_std[c]);
    for (int value = 0; value < 256; ++value) {
      // Rescaling in float64 and the rest in float32, as transformers does.
      auto level = static_cast<float>(options.do_rescale ? value * options.rescale_factor : value);
      if (options.do_normalize) level = (level - mean) / std;
      levels[c][value] = level;
    }
  }
  return levels;
}

at::Tensor to_tensor(const Image& image, const Levels& levels) {
  at::Tensor tensor = at::empty({3, image.height, image.width}, at::kFloat);
  const int64_t area = image.height * image.width;
  for (int64_t c = 0; c < 3; ++c) {
    float* plane = tensor.mutable_data_ptr<float>() + c * area;
    for (int64_t i = 0; i < area; ++i) plane[i] = levels[c][image.pixels[i * 3 + c]];
  }
  return tensor;
}

}  // namespace

PreprocessOptions read_preprocess_options(ConfigReader reader) {
  PreprocessOptions options = defaults_of(reader);
  options.do_resize = reader.get<bool>("do_resize", options.do_resize);
  read_size(reader, options);
  options.resample = read_filter(reader, options.resample);
  options.do_center_crop = reader.get<bool>("do_center_crop", options.do_center_crop);
  read_crop_size(reader, options);
  read_pixels(reader, options);
  finish_preprocessor(reader);
  return options;
}

PreprocessOptions read_preprocess_options(const checkpoint::Repository& repository, const std::string& subfolder) {
  return read_preprocess_options(preprocessor_config(repository, subfolder));
}

at::Tensor preprocess(const Image& image, const PreprocessOptions& options) {
  const Levels levels = levels_of(options);
  Image prepared = options.do_resize ? resize_as(image, options) : image;
  if (options.do_center_crop) prepared = center_crop(prepared, options.crop_width, options.crop_height);
  return to_tensor(prepared, levels);
}

at::Tensor to_signed_unit(const Image& image) {
  Levels levels;
  for (auto& channel : levels) {
    for (int value = 0; value < 256; ++value) channel[value] = 2.0F * (static_cast<float>(value) / 255.0F) - 1.0F;
  }
  return to_tensor(image, levels);
}

Image from_signed_unit(const at::Tensor& pixels) {
  const at::Tensor planes = pixels.dim() == 4 && pixels.size(0) == 1 ? pixels[0] : pixels;
  if (planes.dim() != 3 || planes.size(0) != 3) {
    throw DataError(describe("from_signed_unit", "[3, H, W]", c10::str(pixels.sizes())));
  }
  // Halving in the tensor's own type, the rest in float32, as diffusers does.
  const at::Tensor unit = at::clamp(planes.detach() * 0.5 + 0.5, 0, 1).to(at::kCPU, at::kFloat);
  const at::Tensor bytes = at::round(at::nan_to_num(unit) * 255).to(at::kByte).permute({1, 2, 0}).contiguous();
  Image image(planes.size(2), planes.size(1));
  std::memcpy(image.pixels.data(), bytes.const_data_ptr<uint8_t>(), image.pixels.size());
  return image;
}

}  // namespace readback::image
