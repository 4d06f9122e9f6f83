#include "readback/wire/secret.h"

#include <fmt/format.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <vector>

#include "readback/base/error.h"

namespace readback::wire {

namespace {

void replace_all(std::string& text, const std::string& what, const std::string& by) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size())) {
    text.replace(at, what.size(), by);
  }
}

std::string in_address(const std::string& key) {
  std::string result;
  for (const char c : key) {
    const bool plain =
        std::isalnum(static_cast<unsigned char>(c)) || std::string_view("-._~").find(c) != std::string_view::npos;
    result += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return result;
}

}  // namespace

Secret Secret::from_environment(const std::string& variable) {
  Secret secret;
  secret.variable_ = variable;
  if (const char* value = std::getenv(variable.c_str()); value != nullptr) secret.key_ = value;
  for (const char c : secret.key_) {
    if (static_cast<unsigned char>(c) <= ' ' || c == '\x7f') {
      throw UsageError(describe("the environment variable " + variable, "a key without blanks and line ends",
                                "one with them", "Set it again"));
    }
  }
  return secret;
}

std::string Secret::header() const { return "Authorization: Bearer " + key_; }

std::string Secret::removed_from(std::string text) const {
  if (key_.empty()) return text;
  // As it is, in JSON, and in JSON that is quoted in JSON; some write "\/" for "/".
  std::vector<std::string> forms = {key_};
  for (size_t i = 0; i < 3; ++i) {
    const std::string json = nlohmann::json(forms[i]).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
    forms.push_back(json.substr(1, json.size() - 2));
    forms.push_back(forms.back());
    replace_all(forms.back(), "/", "\\/");
  }
  for (const std::string& form : forms) replace_all(text, form, "[key]");
  replace_all(text, in_address(key_), "[key]");
  return text;
}

}  // namespace readback::wire
