// Markup in which text can only appear escaped: captions may hold anything.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace readback::report {

class Markup {
 public:
  Markup() = default;
  // Text: escaped; invalid UTF-8 becomes U+FFFD, and so do control characters that HTML forbids.
  Markup(std::string_view text);
  Markup(const std::string& text) : Markup(std::string_view(text)) {}
  Markup(const char* text) : Markup(std::string_view(text)) {}
  // Markup as it is: for this folder's own constants.
  static Markup trusted(std::string html);

  Markup& operator+=(const Markup& other);
  friend Markup operator+(Markup left, const Markup& right) { return left += right; }
  bool empty() const { return html_.empty(); }
  const std::string& html() const { return html_; }

 private:
  std::string html_;
};

using Attributes = std::vector<std::pair<std::string_view, std::string>>;

namespace detail {
Markup element(std::string_view tag, const Attributes& attributes, const Markup& body);
}

// "p.lede.wide" is a p of two classes. Void elements (img, meta, …) take no children.
template <typename... Children>
Markup element(std::string_view tag, const Attributes& attributes, const Children&... children) {
  Markup body;
  ((body += children), ...);
  return detail::element(tag, attributes, body);
}
template <typename... Children>
Markup element(std::string_view tag, const Children&... children) {
  return element(tag, Attributes{}, children...);
}

// Three or four digits that matter, with a true minus sign; a dash for NaN.
std::string number(double value);
std::string signed_number(double value);  // with + too
std::string percent(double fraction);     // "82.5 %" with a narrow space that does not break
std::string counted(int64_t n, std::string_view one, std::string_view many);  // "1 sample", "1,000 samples"

}  // namespace readback::report
