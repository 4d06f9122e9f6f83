#include "readback/data/json_files.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "readback/base/error.h"
#include "readback/base/lines.h"
#include "readback/data/layouts/layout.h"

namespace readback::data {

using nlohmann::json;

namespace {

constexpr int kDeepest = 64;
constexpr std::uintmax_t kMostBytes = std::uintmax_t{4} << 30;

json parse(std::string_view text, std::initializer_list<const char*> dropped) {
  return json::parse(text, [&](int depth, json::parse_event_t event, json& value) {
    if (depth > kDeepest) throw json::other_error::create(599, "more than 64 levels", nullptr);
    return event != json::parse_event_t::key ||
           std::ranges::find(dropped, value.get_ref<const std::string&>()) == dropped.end();
  });
}

// Notes the path of every value, and stops where the text does or where it is nested deeper than captions are.
class KeyPaths : public nlohmann::json_sax<json> {
 public:
  std::set<std::string> keys;

  bool null() override { return value(); }
  bool boolean(bool) override { return value(); }
  bool number_integer(number_integer_t) override { return value(); }
  bool number_unsigned(number_unsigned_t) override { return value(); }
  bool number_float(number_float_t, const string_t&) override { return value(); }
  bool string(string_t&) override { return value(); }
  bool binary(binary_t&) override { return value(); }
  bool start_object(size_t) override { return value() && open(stack_.empty() ? "" : "."); }
  bool start_array(size_t) override { return value() && open("[]"); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    constexpr size_t kMostKeys = 1000;
    key_ = name.substr(0, 64);
    return keys.size() < kMostKeys;
  }
  bool parse_error(size_t, const std::string&, const json::exception&) override { return false; }

 private:
  // Where the next value is: "[]" in a list, "images[].id" in an object.
  std::string path() const {
    if (stack_.empty()) return "";
    return stack_.back().ends_with(']') ? stack_.back() : stack_.back() + key_;
  }
  bool value() {
    if (const std::string path = this->path(); !path.empty()) keys.insert(path);
    return true;
  }
  bool open(const char* kind) {
    constexpr size_t kLevels = 6;
    stack_.push_back(path() + kind);
    return stack_.size() <= kLevels;
  }
  bool close() {
    stack_.pop_back();
    return true;
  }

  std::vector<std::string> stack_;  // the beginnings of the paths in what is open
  std::string key_;
};

}  // namespace

json parse_json(std::string_view text) { return parse(text, {}); }

Damage damage_of(const json::exception& error) {
  const std::string_view reason = error.what();
  const bool is_cut = reason.find("unexpected end of input") != std::string_view::npos ||
                      reason.find("missing closing quote") != std::string_view::npos;
  return is_cut ? Damage::kCutFile : Damage::kWrongStructure;
}

std::optional<json> read_json_file(const std::filesystem::path& path, std::initializer_list<const char*> dropped,
                                   Problems& problems) {
  std::string text;
  std::error_code ignored;
  if (const auto size = std::filesystem::file_size(path, ignored); !ignored && size > kMostBytes) {
    problems.error(Damage::kTooLarge, describe(path.string(), "a document of at most 4 GiB", std::to_string(size)));
    return std::nullopt;
  }
  try {
    text = read_text(path);
  } catch (const DataError& error) {
    if (!problems.checking()) throw;
    problems.error(Damage::kEncoding, error.what());
    return std::nullopt;
  }
  try {
    return parse(text, dropped);
  } catch (const json::exception& error) {
    problems.error(is_utf8(text) ? damage_of(error) : Damage::kEncoding, describe(path.string(), "JSON", error.what()));
    return std::nullopt;
  }
}

std::set<std::string> json_keys(std::string_view head) {
  const size_t begin = head.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos || (head[begin] != '{' && head[begin] != '[')) return {};
  KeyPaths paths;
  json::sax_parse(head, &paths);
  return std::move(paths.keys);
}

}  // namespace readback::data
