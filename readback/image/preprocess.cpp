#include "readback/image/preprocess.h"

#include <ATen/ATen.h>
#include <c10/util/StringUtil.h>

#include <cmath>
#include <cstring>
#include <map>

#include "readback/base/error.h"

namespace readback::image {
namespace {

using checkpoint::ConfigReader;
using Levels = std::array<std::array<float, 256>, 3>;  // what each 8-bit value of each channel becomes

std::string processor_type(ConfigReader& reader) {
  for (const char* key : {"image_processor_type", "feature_extractor_type"}) {
    std::string type = reader.get<std::string>(key, "");
    for (const char* suffix : {"Fast", "Pil", "ImageProcessor", "FeatureExtractor"}) {
      if (type.ends_with(suffix)) type.resize(type.size() - std::strlen(suffix));
    }
    if (!type.empty()) return type;
  }
  std::string type = reader.get<std::string>("processor_class", "");
  if (type.ends_with("Processor")) type.resize(type.size() - std::strlen("Processor"));
  return type;
}

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
  throw CheckpointError(describe(reader.where(), "a BlipImageProcessor, CLIPImageProcessor or ViTImageProcessor",
                                 type.empty() ? "no image_processor_type" : reader.raw().dump()));
}

int64_t require_side(ConfigReader& reader, const std::string& key) {
  const int64_t side = reader.require<int64_t>(key);
  if (side < 1 || side > 65'536) {
    throw CheckpointError(describe(reader.where() + ": " + key, "a side of 1 to 65536", std::to_string(side)));
  }
  return side;
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

std::array<double, 3> read_channels(ConfigReader& reader, const std::string& key,
                                    const std::array<double, 3>& fallback) {
  const auto values = reader.get<std::vector<double>>(key, {fallback.begin(), fallback.end()});
  if (values.size() != 3) {
    throw CheckpointError(describe(reader.where() + ": " + key, "3 numbers", std::to_string(values.size())));
  }
  return {values[0], values[1], values[2]};
}

Filter read_filter(ConfigReader& reader, Filter fallback) {
  const std::map<int64_t, Filter> filters = {{1, Filter::kLanczos}, {2, Filter::kBilinear}, {3, Filter::kBicubic}};
  if (!reader.has("resample")) return reader.get<int64_t>("resample", 0), fallback;
  const auto found = filters.find(reader.require<int64_t>("resample"));
  if (found == filters.end()) {
    throw CheckpointError(describe(reader.where() + ": resample", "1 (Lanczos), 2 (bilinear) or 3 (bicubic)",
                                   reader.raw().at("resample").dump()));
  }
  return found->second;
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
  options.do_rescale = reader.get<bool>("do_rescale", options.do_rescale);
  options.rescale_factor = reader.get<double>("rescale_factor", options.rescale_factor);
  options.do_normalize = reader.get<bool>("do_normalize", options.do_normalize);
  options.image_mean = read_channels(reader, "image_mean", options.image_mean);
  options.image_std = read_channels(reader, "image_std", options.image_std);
  reader.expect("do_convert_rgb", {true});
  reader.expect("data_format", {"channels_first"});
  reader.expect("pad_size",
                {nullptr});  // do_pad without it fills up to the largest picture of a batch, which is this one
  reader.ignore({"image_processor_type", "feature_extractor_type", "processor_class", "do_pad", "size_divisor",
                 "input_data_format", "return_tensors", "device", "disable_grouping", "image_seq_length",
                 "_valid_processor_keys"});
  reader.finish();
  return options;
}

PreprocessOptions read_preprocess_options(const checkpoint::Repository& repository, const std::string& subfolder) {
  const std::string folder = subfolder.empty() ? "" : subfolder + "/";
  const std::string combined = folder + "processor_config.json", separate = folder + "preprocessor_config.json";
  if (repository.has(combined)) {
    const nlohmann::json config = repository.json(combined);
    const auto section = config.find("image_processor");
    if (section != config.end() && section->is_object()) {
      return read_preprocess_options(
          ConfigReader(*section, (repository.path() / combined).string() + ": image_processor"));
    }
  }
  return read_preprocess_options(ConfigReader(repository.json(separate), (repository.path() / separate).string()));
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
