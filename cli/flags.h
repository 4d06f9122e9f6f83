// Flags from declared options (base/options.h): their names, help, checks and defaults are written once, there.
#pragma once
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "readback/base/options.h"

namespace readback::cli {

inline constexpr const char* kWireGroup = "Models elsewhere";  // heading of wire::WireOptions

// Which options of a struct a verb offers, by their path ("sampling.top_p"), and under which heading.
struct FlagRules {
  std::function<bool(const std::string& path, Scope scope)> wanted = [](const std::string&, Scope) { return true; };
  std::function<std::string(const std::string& path)> group = [](const std::string&) { return "Options"; };
};

inline std::string flag_of(const std::string& name) {
  std::string flag = "--" + name;
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

namespace options_detail {

template <typename Number>
CLI::Validator in(const Range& range) {
  return CLI::Validator(
      [range](const std::string& text) -> std::string {
        Number number{};
        if (!CLI::detail::lexical_cast(text, number)) return "expected a number, got " + text;
        return range.contains(static_cast<double>(number)) ? ""
                                                           : fmt::format("expected {}, got {}", to_string(range), text);
      },
      "");
}

template <typename Enum>
std::vector<std::string> words() {
  const auto names = names_of(Enum{});
  return {names.begin(), names.end()};
}

template <typename Value>
CLI::Option* add_flag(CLI::App& verb, const std::string& flag, Value& value, const std::string& help,
                      const Range& range) {
  if constexpr (is_optional_v<Value>) {
    using Inner = typename Value::value_type;
    if constexpr (std::is_enum_v<Inner>) {
      return verb
          .add_option_function<std::string>(
              flag, [&value, flag](const std::string& word) { value = parse_enum<Inner>(flag, word); }, help)
          ->check(CLI::IsMember(words<Inner>()));
    } else {
      CLI::Option* option = verb.add_option(flag, value, help);
      if constexpr (std::is_arithmetic_v<Inner>) option->check(in<Inner>(range));
      return option;
    }
  } else if constexpr (std::is_same_v<Value, bool>) {
    const std::string name = flag.substr(2);
    return verb.add_flag(value ? fmt::format("--{},!--no-{}", name, name) : flag, value, help);
  } else if constexpr (std::is_enum_v<Value>) {
    return verb
        .add_option_function<std::string>(
            flag, [&value, flag](const std::string& word) { value = parse_enum<Value>(flag, word); }, help)
        ->check(CLI::IsMember(words<Value>()))
        ->default_str(name_of(value));
  } else if constexpr (is_vector_v<Value>) {
    using Inner = typename Value::value_type;
    if constexpr (std::is_enum_v<Inner>) {
      std::string given;
      for (const Inner item : value) given += (given.empty() ? "" : ",") + name_of(item);
      return verb
          .add_option_function<std::vector<std::string>>(
              flag,
              [&value, flag](const std::vector<std::string>& list) {
                value.clear();
                for (const std::string& word : list) value.push_back(parse_enum<Inner>(flag, word));
              },
              help)
          ->delimiter(',')
          ->check(CLI::IsMember(words<Inner>()))
          ->default_str(given);
    } else {
      return verb.add_option(flag, value, help)->delimiter(',')->default_str(fmt::format("{}", fmt::join(value, ",")));
    }
  } else {
    CLI::Option* option = verb.add_option(flag, value, help);
    if constexpr (std::is_arithmetic_v<Value>) option->check(in<Value>(range));
    if constexpr (std::is_same_v<Value, std::string>) {
      if (value.empty()) return option;
    }
    return option->capture_default_str();
  }
}

}  // namespace options_detail

// A flag for every option that the rules want. `options` must outlive the parsing.
template <typename Options>
void add_options(CLI::App& verb, Options& options, const FlagRules& rules = {}) {
  for_each_option(options, [&](const auto& option, auto& value, const std::string& path, const std::string& name) {
    if (!rules.wanted(path, option.scope)) return;
    CLI::Option* flag = options_detail::add_flag(verb, flag_of(name), value, option.help, option.range);
    const std::string group = rules.group(path);
    if (group != "Options") flag->group(group);
  });
}

// All options under one heading.
template <typename Options>
void add_options(CLI::App& verb, Options& options, const char* group) {
  add_options(verb, options, FlagRules{.group = [group](const std::string&) { return std::string(group); }});
}

}  // namespace readback::cli
