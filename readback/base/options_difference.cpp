#include "readback/base/options_difference.h"

#include <algorithm>
#include <set>

namespace readback {

namespace {

void add_defaults(nlohmann::json& options, const nlohmann::json& defaults) {
  for (const auto& [key, value] : defaults.items()) {
    if (!options.contains(key)) {
      options[key] = value;
    } else if (options[key].is_object() && value.is_object()) {
      add_defaults(options[key], value);
    }
  }
}

}  // namespace

std::vector<OptionDifference> option_differences(nlohmann::json before, nlohmann::json now,
                                                 const nlohmann::json& defaults) {
  add_defaults(before, defaults);
  add_defaults(now, defaults);
  const nlohmann::json old_values = before.flatten(), new_values = now.flatten();
  std::set<std::string> pointers;
  for (const nlohmann::json* values : {&old_values, &new_values}) {
    for (const auto& [pointer, value] : values->items()) pointers.insert(pointer);
  }
  std::vector<OptionDifference> differences;
  for (const std::string& pointer : pointers) {
    if (pointer.empty()) continue;  // what an empty object is flattened to
    const auto text = [&](const nlohmann::json& values) {
      return values.contains(pointer) ? values[pointer].dump() : std::string("absent");
    };
    const bool both = old_values.contains(pointer) && new_values.contains(pointer);
    if (both && old_values[pointer] == new_values[pointer]) continue;  // 0 is 0.0
    OptionDifference difference{pointer.substr(1), text(old_values), text(new_values)};
    std::replace(difference.name.begin(), difference.name.end(), '/', '.');
    differences.push_back(std::move(difference));
  }
  // flatten() takes empty lists and objects for null.
  if (differences.empty() && before != now) differences.push_back({"", before.dump(), now.dump()});
  return differences;
}

}  // namespace readback
