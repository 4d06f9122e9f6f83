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
  const std::string key = (image::has_image_name(name) ? name.stem() : name.filename()).string();
  const bool number =
      !key.empty() && std::all_of(key.begin(), key.end(), [](unsigned char c) { return std::isdigit(c); });
  return number ? key.substr(std::min(key.find_first_not_of('0'), key.size() - 1)) : key;
}

}  // namespace readback::data
