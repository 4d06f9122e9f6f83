// A part of tokenizer.json: an object with a type, and errors that name it.
#pragma once
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "readback/base/error.h"
#include "readback/text/unicode.h"

namespace readback::text {

class JsonPart {
 public:
  JsonPart(const nlohmann::json& value, std::string where, int depth = 0)
      : value_(value), where_(std::move(where)), depth_(depth) {
    if (!value_.is_object()) fail("an object with a type", value_.dump());
    if (depth_ > kDeepest) fail(fmt::format("parts at most {} deep", kDeepest), "more");
  }

  const std::string& where() const { return where_; }
  [[noreturn]] void fail(const std::string& expected, const std::string& got) const {
    throw CheckpointError(describe(where_, expected, got.size() > 200 ? got.substr(0, 200) + "…" : got));
  }

  // The entry of `known`, pairs of a type and what makes it, for this part's type.
  template <typename Known>
  const auto& choose(const Known& known) const {
    const std::string type = text("type");
    std::string names;
    for (const auto& [name, make] : known) {
      if (type == name) return make;
      names += (names.empty() ? "" : ", ") + std::string(name);
    }
    fail("one of " + names, type);
  }

  const nlohmann::json& at(const char* key) const {
    const auto found = value_.find(key);
    if (found == value_.end()) fail(fmt::format("a key \"{}\"", key), "none");
    return *found;
  }
  bool has(const char* key) const { return value_.contains(key) && !value_.at(key).is_null(); }
  std::string text(const char* key) const {
    if (!at(key).is_string()) fail(fmt::format("\"{}\" as text", key), at(key).dump());
    return at(key);
  }
  std::string text(const char* key, const char* fallback) const { return has(key) ? text(key) : fallback; }
  char32_t character(const char* key) const {
    const std::u32string characters = decode_utf8(text(key));
    if (characters.size() != 1) fail(fmt::format("\"{}\" as one character", key), at(key).dump());
    return characters[0];
  }
  bool flag(const char* key, bool fallback) const {
    if (!has(key)) return fallback;
    if (!at(key).is_boolean()) fail(fmt::format("\"{}\" as true or false", key), at(key).dump());
    return at(key);
  }
  int64_t number(const char* key) const {
    if (!at(key).is_number_unsigned() || at(key).get<uint64_t>() > INT32_MAX) {
      fail(fmt::format("\"{}\" as a whole number", key), at(key).dump());
    }
    return at(key);
  }
  std::vector<JsonPart> list(const char* key) const {
    if (!at(key).is_array()) fail(fmt::format("\"{}\" as a list", key), at(key).dump());
    std::vector<JsonPart> parts;
    for (const nlohmann::json& one : at(key)) parts.emplace_back(one, where_, depth_ + 1);
    return parts;
  }

 private:
  static constexpr int kDeepest = 8;
  const nlohmann::json& value_;
  std::string where_;
  int depth_;
};

}  // namespace readback::text
