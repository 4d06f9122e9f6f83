#include "readback/image/preprocess_config.h"

#include <cstring>
#include <map>

#include "readback/base/error.h"

namespace readback::image {

using checkpoint::ConfigReader;

ConfigReader preprocessor_config(const checkpoint::Repository& repository, const std::string& subfolder) {
  const std::string folder = subfolder.empty() ? "" : subfolder + "/";
  const std::string combined = folder + "processor_config.json", separate = folder + "preprocessor_config.json";
  if (repository.has(combined)) {
    const nlohmann::json config = repository.json(combined);
    const auto section = config.find("image_processor");
    if (section != config.end() && section->is_object()) {
      return ConfigReader(*section, (repository.path() / combined).string() + ": image_processor");
    }
  }
  return ConfigReader(repository.json(separate), (repository.path() / separate).string());
}

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

int64_t require_side(ConfigReader& reader, const std::string& key) {
  const int64_t side = reader.require<int64_t>(key);
  if (side < 1 || side > 65'536) {
    throw CheckpointError(describe(reader.where() + ": " + key, "a side of 1 to 65536", std::to_string(side)));
  }
  return side;
}

namespace {

std::array<double, 3> read_channels(ConfigReader& reader, const std::string& key,
                                    const std::array<double, 3>& fallback) {
  const auto values = reader.get<std::vector<double>>(key, {fallback.begin(), fallback.end()});
  if (values.size() != 3) {
    throw CheckpointError(describe(reader.where() + ": " + key, "3 numbers", std::to_string(values.size())));
  }
  return {values[0], values[1], values[2]};
}

}  // namespace

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

void read_pixels(ConfigReader& reader, PreprocessOptions& options) {
  options.do_rescale = reader.get<bool>("do_rescale", options.do_rescale);
  options.rescale_factor = reader.get<double>("rescale_factor", options.rescale_factor);
  options.do_normalize = reader.get<bool>("do_normalize", options.do_normalize);
  options.image_mean = read_channels(reader, "image_mean", options.image_mean);
  options.image_std = read_channels(reader, "image_std", options.image_std);
}

void finish_preprocessor(ConfigReader& reader) {
  reader.expect("do_convert_rgb", {true});
  reader.expect("data_format", {"channels_first"});
  // do_pad without it fills up to the largest picture of a batch, which is this one.
  reader.expect("pad_size", {nullptr});
  reader.ignore({"image_processor_type", "feature_extractor_type", "processor_class", "do_pad", "size_divisor",
                 "input_data_format", "return_tensors", "device", "disable_grouping", "image_seq_length",
                 "_valid_processor_keys"});
  reader.finish();
}

}  // namespace readback::image
