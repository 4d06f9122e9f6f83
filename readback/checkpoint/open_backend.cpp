#include "readback/checkpoint/open_backend.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace readback::checkpoint {

Architecture architecture(const Repository& repository) {
  const bool pipeline = repository.has("model_index.json");
  const std::string file = pipeline ? "model_index.json" : "config.json";
  const nlohmann::json config = repository.json(file);
  const auto text = [](const nlohmann::json& json, const char* key) {
    const auto found = json.find(key);
    return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  Architecture result;
  if (config.is_object()) {
    result = {text(config, "_class_name"), text(config, "model_type")};
    if (const auto list = config.find("architectures"); list != config.end() && list->is_array() && !list->empty()) {
      if (list->front().is_string()) result.class_name = list->front().get<std::string>();
    }
  }
  if (result.class_name.empty() && result.model_type.empty()) {
    throw CheckpointError(describe((repository.path() / file).string(),
                                   pipeline ? "_class_name" : "architectures or model_type", "neither of them as text",
                                   "It is what a model is recognised by"));
  }
  return result;
}

std::string scheme(const std::string& spec) {
  const size_t colon = spec.find(':');
  if (colon == std::string::npos || colon < 2) return "";
  const bool word = std::all_of(spec.begin(), spec.begin() + static_cast<std::ptrdiff_t>(colon),
                                [](char c) { return (c >= 'a' && c <= 'z') || c == '+'; });
  return word ? spec.substr(0, colon + 1) : "";
}

}  // namespace readback::checkpoint
