#include "readback/checkpoint/peft_options.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <functional>
#include <regex>
#include <vector>

#include "readback/base/error.h"
#include "readback/checkpoint/config_reader.h"

namespace readback::checkpoint {

namespace {

using nlohmann::json, nlohmann::ordered_json;

// PEFT writes every option that its version knows, nearly all of them off.
bool is_off(const json& value) {
  return value.is_null() || value == false || value == "" || (value.is_structured() && value.empty());
}

json without_what_is_off(const json& config) {
  json on = json::object();
  for (const auto& [key, value] : config.items())
    if (!is_off(value)) on[key] = value;
  return on;
}

std::regex compile(const std::string& pattern, const std::string& where) {
  try {
    return std::regex(pattern);
  } catch (const std::regex_error&) {
    throw CheckpointError(describe(where, "regular expressions", pattern));
  }
}

// A list that may be written as its only item.
template <typename Item>
std::vector<Item> items(const ordered_json& value, const std::string& where, const char* expected) {
  const json list = value.is_array() ? json(value) : json::array({value});
  if (!detail::JsonType<std::vector<Item>>::matches(list))
    throw CheckpointError(describe(where, expected, value.dump()));
  return list.get<std::vector<Item>>();
}

// Whether `module` is one of `names` or ends with one, at a dot.
bool is_named(const std::string& module, const std::vector<std::string>& names) {
  return std::ranges::any_of(names,
                             [&](const std::string& name) { return module == name || module.ends_with("." + name); });
}

}  // namespace

PeftOptions::PeftOptions(const ordered_json& config, std::string where) : where_(std::move(where)), config_(config) {
  ConfigReader reader(without_what_is_off(json(config)), where_);
  reader.expect("peft_type", {"LORA"});
  reader.expect("bias", {"none"});
  reader.expect("init_lora_weights", {true, "gaussian", "eva", "mica", "orthogonal"});  // others change the base
  for (const char* variant :
       {"alora_invocation_tokens", "arrow_config", "ensure_weight_tying", "kasa_config", "layer_replication",
        "lora_bias", "megatron_config", "modules_to_save", "monteclora_config", "target_parameters",
        "trainable_token_indices", "use_bdlora", "use_dora", "use_qalora", "velora_config"}) {
    reader.expect(variant, {nullptr, false});
  }
  // Of training, of initial values, or used only with an option that is refused. A linear layer's matrix is never
  // transposed, whatever fan_in_fan_out says.
  reader.ignore({"auto_mapping", "corda_config", "eva_config", "fan_in_fan_out", "inference_mode", "loftq_config",
                 "lora_dropout", "lora_ga_config", "megatron_core", "peft_version", "qalora_group_size", "revision",
                 "runtime_config", "task_type"});
  reader.ignore(
      {"alpha_pattern", "exclude_modules", "layers_pattern", "layers_to_transform", "rank_pattern", "target_modules"});
  base_ = reader.get<std::string>("base_model_name_or_path", "");
  alpha_ = reader.get("lora_alpha", alpha_);
  rank_ = reader.get("r", rank_);
  rank_stabilized_ = reader.get("use_rslora", false);
  reader.finish();
  for (const char* option : {"alpha_pattern", "rank_pattern"}) {
    if (!config_.contains(option) || config_[option].is_null()) config_[option] = ordered_json::object();
    if (!config_[option].is_object())
      throw CheckpointError(describe(where_ + ": " + option, "an object of patterns", config_[option].dump()));
  }
  for (const char* option : {"exclude_modules", "layers_pattern", "layers_to_transform", "target_modules"})
    if (!config_.contains(option) || is_off(json(config_[option]))) config_[option] = nullptr;
  if (config_["target_modules"].is_string() && !config_["layers_to_transform"].is_null()) {
    throw CheckpointError(describe(where_ + ": layers_to_transform", "a list as target_modules beside it",
                                   config_["target_modules"].dump()));
  }
}

bool PeftOptions::targets(const std::string& module) const {
  const auto find = [&](const char* option, const std::function<bool(const std::vector<std::string>&)>& in_list) {
    const ordered_json& value = config_[option];
    const std::string where = where_ + ": " + option;
    if (value.is_string()) return std::regex_match(module, compile(value.get<std::string>(), where));
    return in_list(items<std::string>(value, where, "a pattern or a list of names"));
  };
  const bool excluded = !config_["exclude_modules"].is_null() &&
                        find("exclude_modules", [&](const auto& names) { return is_named(module, names); });
  if (excluded) return false;
  const ordered_json& wanted = config_["target_modules"];
  if (wanted.is_null()) return true;  // by PEFT's own table of architectures
  if (wanted.is_string()) {
    std::string lower = wanted.get<std::string>();
    std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return std::tolower(c); });
    if (lower == "all-linear") return true;
  }
  return find("target_modules", [&](const std::vector<std::string>& names) {
    return std::ranges::count(names, module) > 0 || (is_named(module, names) && is_in_layers(module));
  });
}

// Whether the first layer number in the module's name is one of layers_to_transform.
bool PeftOptions::is_in_layers(const std::string& module) const {
  if (config_["layers_to_transform"].is_null()) return true;
  const auto layers =
      items<int64_t>(config_["layers_to_transform"], where_ + ": layers_to_transform", "a layer's number or a list");
  const std::string where = where_ + ": layers_pattern";
  std::vector<std::string> patterns = {".*?\\.[^.]*\\.(\\d+)\\."};
  if (!config_["layers_pattern"].is_null()) {
    patterns = items<std::string>(config_["layers_pattern"], where, "a pattern or a list of patterns");
    for (std::string& pattern : patterns) pattern = "(?:.*?\\.)?" + pattern + "\\.(\\d+)\\.";
  }
  for (const std::string& pattern : patterns) {
    std::smatch match;
    if (!std::regex_search(module, match, compile(pattern, where), std::regex_constants::match_continuous)) continue;
    const std::string number = match[match.size() - 1];
    return std::ranges::any_of(layers, [&](int64_t layer) { return std::to_string(layer) == number; });
  }
  return false;
}

json PeftOptions::of_pattern(const char* option, const std::string& module, json fallback) const {
  for (const auto& [pattern, value] : config_[option].items()) {
    if (!value.is_number()) throw CheckpointError(describe(where_ + ": " + option, "numbers", value.dump()));
    if (std::regex_match(module, compile("(.*\\.)?(" + pattern + ")", where_ + ": " + option))) return value;
  }
  return fallback;
}

double PeftOptions::alpha(const std::string& module, int64_t rank) const {
  const json stated = of_pattern("rank_pattern", module, rank_);
  if (stated != rank) {
    throw CheckpointError(describe(where_ + ": " + module, "tensors of the stated rank " + stated.dump(),
                                   "rank " + std::to_string(rank)));
  }
  const auto alpha = of_pattern("alpha_pattern", module, alpha_).get<double>();
  return rank_stabilized_ ? alpha * std::sqrt(static_cast<double>(rank)) : alpha;
}

}  // namespace readback::checkpoint
