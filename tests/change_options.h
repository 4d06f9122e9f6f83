// Every declared option of a struct, changed in turn.
#pragma once
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <type_traits>
#include <vector>

#include "readback/base/options_json.h"

namespace readback::tests {

// Another value of an option that its declaration allows.
template <typename Value>
void change(Value& value) {
  if constexpr (is_optional_v<Value>) {
    auto inner = value.value_or(typename Value::value_type{});
    change(inner);
    value = inner;
  } else if constexpr (is_vector_v<Value>) {
    if constexpr (std::is_enum_v<typename Value::value_type>) {
      value.pop_back();
    } else {
      value.push_back("changed");
    }
  } else if constexpr (std::is_enum_v<Value>) {
    value = static_cast<Value>((static_cast<size_t>(value) + 1) % names_of(value).size());
  } else if constexpr (std::is_same_v<Value, bool>) {
    value = !value;
  } else if constexpr (std::is_same_v<Value, std::string>) {
    value += "changed";
  } else if constexpr (std::is_floating_point_v<Value>) {
    value = value == 0.5 ? 0.25 : 0.5;
  } else {
    value += 8;
  }
}

// `changed` is called with options of which one has another value, and that option's path and scope.
template <typename Options>
void for_each_change(const Options& base,
                     const std::function<void(const Options&, const std::string&, Scope)>& changed) {
  std::vector<std::string> paths;
  for_each_option(
      base, [&](const auto&, const auto&, const std::string& path, const std::string&) { paths.push_back(path); });
  for (const std::string& wanted : paths) {
    Options options = base;
    Scope scope = Scope::kResult;
    for_each_option(options, [&](const auto& option, auto& value, const std::string& path, const std::string&) {
      if (path != wanted) return;
      change(value);
      scope = option.scope;
    });
    changed(options, wanted, scope);
  }
}

// Each option changes JSON and comes back; those of kResult change identity(options). How many there are.
template <typename Options, typename Identity>
int expect_declared(const Identity& identity) {
  const Options base;
  const nlohmann::json json = options_to_json(base), before = identity(base);
  int count = 0;
  for_each_change<Options>(base, [&](const Options& options, const std::string& path, Scope scope) {
    SCOPED_TRACE(path);
    const nlohmann::json changed = options_to_json(options);
    EXPECT_NE(changed, json);
    Options back;
    options_from_json(changed, back);
    EXPECT_EQ(options_to_json(back), changed);
    EXPECT_EQ(identity(options) != before, scope == Scope::kResult);
    ++count;
  });
  return count;
}

}  // namespace readback::tests
