#include "readback/report/html.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <cstdint>

namespace readback::report {

namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// The length of the valid UTF-8 sequence at the beginning of `text`; 0 when there is none.
size_t sequence_length(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  const auto continues = [&](size_t i) { return (byte(i) & 0xC0) == 0x80; };
  const uint8_t first = byte(0), second = byte(1);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return continues(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const bool overlong = first == 0xE0 && second < 0xA0, surrogate = first == 0xED && second > 0x9F;
    return continues(1) && continues(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const bool overlong = first == 0xF0 && second < 0x90, beyond = first == 0xF4 && second > 0x8F;
    return continues(1) && continues(2) && continues(3) && !overlong && !beyond ? 4 : 0;
  }
  return 0;
}

std::string escape(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const size_t length = sequence_length(text);
    const char c = text.front();
    const bool control = (static_cast<uint8_t>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7F;
    if (length == 0 || control) {
      result += kReplacement;
    } else if (c == '&') {
      result += "&amp;";
    } else if (c == '<') {
      result += "&lt;";
    } else if (c == '>') {
      result += "&gt;";
    } else if (c == '"') {
      result += "&quot;";
    } else if (c == '\'') {
      result += "&#39;";
    } else {
      result += text.substr(0, length);
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return result;
}

bool is_void(std::string_view tag) { return tag == "img" || tag == "meta" || tag == "br"; }

// ASCII's hyphen is too short for a minus sign.
std::string with_minus(std::string text) {
  if (text.starts_with('-')) text.replace(0, 1, "−");
  return text;
}

}  // namespace

Markup::Markup(std::string_view text) : html_(escape(text)) {}

Markup Markup::trusted(std::string html) {
  Markup result;
  result.html_ = std::move(html);
  return result;
}

Markup& Markup::operator+=(const Markup& other) {
  html_ += other.html_;
  return *this;
}

Markup detail::element(std::string_view tag, const Attributes& attributes, const Markup& body) {
  const size_t dot = tag.find('.');
  const std::string name(tag.substr(0, dot));
  std::string html = "<" + name;
  if (dot != std::string_view::npos) {
    std::string classes(tag.substr(dot + 1));
    for (char& c : classes) c = c == '.' ? ' ' : c;
    html += " class=\"" + escape(classes) + "\"";
  }
  for (const auto& [key, value] : attributes) html += " " + std::string(key) + "=\"" + escape(value) + "\"";
  html += ">";
  if (!is_void(name)) html += body.html() + "</" + name + ">";
  return Markup::trusted(std::move(html));
}

std::string number(double value) {
  if (std::isnan(value)) return "–";
  const double size = std::abs(value);
  const int decimals = size >= 99.95 ? 0 : size >= 9.995 ? 1 : size >= 0.9995 ? 2 : 3;
  std::string text = fmt::format("{:.{}f}", value, decimals);
  if (text.find_first_not_of("-0.") == std::string::npos && text.starts_with('-')) text.erase(0, 1);
  return with_minus(text);
}

std::string signed_number(double value) {
  const std::string text = number(value);
  return value > 0 && text.find_first_of("123456789") != std::string::npos ? "+" + text : text;
}

std::string percent(double fraction) {
  if (std::isnan(fraction)) return "–";
  const double value = 100 * fraction;
  return fmt::format("{:.{}f}\u202F%", value, value > 99.95 || value < 0.05 ? 0 : 1);
}

std::string counted(int64_t n, std::string_view one, std::string_view many) {
  std::string digits = std::to_string(n);
  for (int64_t i = static_cast<int64_t>(digits.size()) - 3; i > 0; i -= 3) digits.insert(static_cast<size_t>(i), ",");
  return fmt::format("{} {}", digits, n == 1 ? one : many);
}

}  // namespace readback::report
