// Options as JSON and back; see base/options.h.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "readback/base/options.h"

namespace readback {

namespace options_detail {

template <typename Value>
nlohmann::json value_to_json(const Value& value) {
  if constexpr (is_optional_v<Value>) {
    return value ? value_to_json(*value) : nlohmann::json();
  } else if constexpr (is_vector_v<Value>) {
    nlohmann::json list = nlohmann::json::array();
    for (const auto& item : value) list.push_back(value_to_json(item));
    return list;
  } else if constexpr (std::is_enum_v<Value>) {
    return name_of(value);
  } else {
    return value;
  }
}

template <typename Value>
void value_from_json(const std::string& name, const nlohmann::json& json, Value& value) {
  if constexpr (is_optional_v<Value>) {
    if (json.is_null()) {
      value.reset();
    } else {
      value_from_json(name, json, value.emplace());
    }
  } else if constexpr (is_vector_v<Value>) {
    value.clear();
    for (const auto& item : json) value_from_json(name, item, value.emplace_back());
  } else if constexpr (std::is_enum_v<Value>) {
    value = parse_enum<Value>(name, json.get<std::string>());
  } else {
    json.get_to(value);
  }
}

}  // namespace options_detail

// {"name": value, …, "nested": {…}}; an optional without a value is null. Only options of the scopes that `wanted`
// says are in it.
template <typename Options, typename Wanted>
nlohmann::json options_to_json(const Options& options, Wanted&& wanted) {
  nlohmann::json json = nlohmann::json::object();
  for_each_field(options, [&](const auto& field, const auto& value) {
    if constexpr (is_nested_v<std::remove_cvref_t<decltype(field)>>) {
      if (nlohmann::json inner = options_to_json(value, wanted); !inner.empty()) json[field.name] = std::move(inner);
    } else if (wanted(field.scope)) {
      json[field.name] = options_detail::value_to_json(value);
    }
  });
  return json;
}
template <typename Options>
nlohmann::json options_to_json(const Options& options) {
  return options_to_json(options, [](Scope) { return true; });
}
// What decides the results.
template <typename Options>
nlohmann::json options_identity(const Options& options) {
  return options_to_json(options, [](Scope scope) { return scope == Scope::kResult; });
}

// Keys that are absent leave their options as they are. Errors: UsageError for an unknown key and a value of another
// type, naming the key.
template <typename Options>
void options_from_json(const nlohmann::json& json, Options& options, const std::string& where = "options") {
  if (!json.is_object()) throw UsageError(describe(where, "an object of options", json.dump()));
  size_t known = 0;
  std::string names;
  for_each_field(options, [&](const auto& field, auto& value) {
    names += std::string(names.empty() ? "" : ", ") + field.name;
    const auto found = json.find(field.name);
    if (found == json.end()) return;
    ++known;
    const std::string name = where + "." + field.name;
    if constexpr (is_nested_v<std::remove_cvref_t<decltype(field)>>) {
      options_from_json(*found, value, name);
    } else {
      try {
        options_detail::value_from_json(name, *found, value);
      } catch (const nlohmann::json::exception&) {
        throw UsageError(describe(name, "a value of its type", found->dump()));
      }
    }
  });
  if (known == json.size()) return;
  for (auto item = json.begin(); item != json.end(); ++item) {
    bool declared = false;
    for_each_field(options, [&](const auto& field, auto&) { declared |= item.key() == field.name; });
    if (!declared) throw UsageError(describe(where, "one of " + names, "\"" + item.key() + "\""));
  }
}

}  // namespace readback
