// Reading a model's configuration in full: an option that the code does not know and that could change the result
// is an error, not a silent default.
#pragma once
#include <algorithm>
#include <concepts>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace readback::checkpoint {

class ConfigReader {
 public:
  // `where` names the file (and section) in messages.
  ConfigReader(nlohmann::json config, std::string where);

  // The value under `key`, or `fallback` when it is absent or null. Marks the key as known. Errors: CheckpointError
  // when the type differs: T is bool, an integer (whole JSON numbers in its range only), a floating-point type (any
  // number), std::string, nlohmann::json, or a std::vector of these.
  template <typename T>
  T get(const std::string& key, const T& fallback);
  template <typename T>
  T require(const std::string& key);             // Errors: CheckpointError also when absent or null
  bool has(const std::string& key) const;        // present and not null
  ConfigReader section(const std::string& key);  // a nested object (empty when absent); finish() it by itself

  // The option must be absent, null or one of `allowed`: for options of which we implement some values only.
  void expect(const std::string& key, std::initializer_list<nlohmann::json> allowed);
  // Known options that do not change what inference gives (dropout, initializer_range, …).
  void ignore(std::initializer_list<const char*> keys);
  // Throws CheckpointError listing every key that nobody asked for and that is not null. Keys of transformers' base
  // configuration that concern other things than the architecture (_name_or_path, transformers_version, generation
  // defaults …) are known, and so are its pad, bos, eos, sep and similar token ids: a model that depends on one must
  // ask for it.
  void finish() const;

  const nlohmann::json& raw() const { return config_; }
  const std::string& where() const { return where_; }

 private:
  nlohmann::json value(const std::string& key);
  [[noreturn]] void refuse(const std::string& key, const std::string& expected) const;
  nlohmann::json config_;
  std::string where_;
  std::set<std::string> known_;
};

namespace detail {

// nlohmann's own conversions turn true into 1 and 2.7 into 2; a configuration deserves better.
template <typename T>
struct JsonType;

template <>
struct JsonType<nlohmann::json> {
  static std::string name() { return "any value"; }
  static bool matches(const nlohmann::json&) { return true; }
};
template <>
struct JsonType<bool> {
  static std::string name() { return "true or false"; }
  static bool matches(const nlohmann::json& value) { return value.is_boolean(); }
};
template <>
struct JsonType<std::string> {
  static std::string name() { return "a string"; }
  static bool matches(const nlohmann::json& value) { return value.is_string(); }
};
template <std::integral T>
struct JsonType<T> {
  static std::string name() { return "a whole number in range"; }
  static bool matches(const nlohmann::json& value) {
    if (value.is_number_unsigned()) return std::in_range<T>(value.get<uint64_t>());
    return value.is_number_integer() && std::in_range<T>(value.get<int64_t>());
  }
};
template <std::floating_point T>
struct JsonType<T> {
  static std::string name() { return "a number"; }
  static bool matches(const nlohmann::json& value) { return value.is_number(); }
};
template <typename T>
struct JsonType<std::vector<T>> {
  static std::string name() { return std::string("a list, each item ").append(JsonType<T>::name()); }
  static bool matches(const nlohmann::json& value) {
    return value.is_array() && std::all_of(value.begin(), value.end(), JsonType<T>::matches);
  }
};

}  // namespace detail

template <typename T>
T ConfigReader::require(const std::string& key) {
  const nlohmann::json found = value(key);
  if (!detail::JsonType<T>::matches(found)) refuse(key, detail::JsonType<T>::name());
  return found.get<T>();
}

template <typename T>
T ConfigReader::get(const std::string& key, const T& fallback) {
  known_.insert(key);
  return has(key) ? require<T>(key) : fallback;
}

}  // namespace readback::checkpoint
