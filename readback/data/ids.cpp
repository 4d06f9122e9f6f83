#include "readback/data/ids.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/image/codec.h"

namespace readback::data {

std::string id_of(const nlohmann::json& value, const std::string& where) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_integer()) return value.dump();
  constexpr double kExact = 9007199254740992;  // above it, neighbours of whole numbers are one double
  if (value.is_number_float()) {
    const auto number = value.get<double>();
    if (std::abs(number) <= kExact && number == std::trunc(number)) return std::to_string(static_cast<int64_t>(number));
  }
  throw DataError(describe(where, "an id that is a string or a whole number", value.dump()));
}

std::string image_key(const std::filesystem::path& name) {
  const auto is_number = [](std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, [](unsigned char c) { return std::isdigit(c); });
  };
  std::string key = (image::has_image_name(name) ? name.stem() : name.filename()).string();
  // COCO's of before 2017: COCO_SPLIT_NUMBER.
  if (const size_t last = key.rfind('_');
      key.starts_with("COCO_") && is_number(std::string_view(key).substr(last + 1))) {
    key.erase(0, last + 1);
  }
  return is_number(key) ? key.substr(std::min(key.find_first_not_of('0'), key.size() - 1)) : key;
}

}  // namespace readback::data
