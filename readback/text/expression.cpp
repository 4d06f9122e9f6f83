#include "readback/text/expression.h"

#include <fmt/format.h>
#include <unicode/regex.h>

#include <stdexcept>

#include "readback/base/error.h"
#include "readback/text/unicode.h"

namespace readback::text {
namespace {

// The inside of a class that has exactly the characters for which `belongs`.
template <typename Belongs>
std::string ranges_of(const Belongs& belongs) {
  std::string ranges;
  for (char32_t first = 0; first < 0x110000; ++first) {
    if (!belongs(first)) continue;
    char32_t last = first;
    while (last + 1 < 0x110000 && belongs(last + 1)) ++last;
    ranges += fmt::format("\\x{{{:X}}}-\\x{{{:X}}}", static_cast<uint32_t>(first), static_cast<uint32_t>(last));
    first = last;
  }
  return ranges;
}

const std::string& letters() {
  static const std::string ranges = ranges_of(is_letter);
  return ranges;
}

const std::string& numbers() {
  static const std::string ranges = ranges_of(is_number);
  return ranges;
}

const std::string& spaces() {
  static const std::string ranges = ranges_of(is_whitespace);
  return ranges;
}

// The pattern for ICU: named classes become lists of characters, which mean the same inside other classes.
std::string translated(std::string_view pattern, const std::string& where) {
  constexpr std::string_view kLetters = "p{L}", kNumbers = "p{N}", kKept = "rnt";
  std::string result;
  while (!pattern.empty()) {
    const char first = pattern.front();
    pattern.remove_prefix(1);
    if (first != '\\') {
      result += first;
    } else if (pattern.starts_with(kLetters)) {
      result += "[" + letters() + "]";
      pattern.remove_prefix(kLetters.size());
    } else if (pattern.starts_with(kNumbers)) {
      result += "[" + numbers() + "]";
      pattern.remove_prefix(kNumbers.size());
    } else if (pattern.starts_with('s') || pattern.starts_with('S')) {
      result += (pattern.front() == 's' ? "[" : "[^") + spaces() + "]";
      pattern.remove_prefix(1);
    } else if (!pattern.empty() && (kKept.find(pattern.front()) != std::string_view::npos ||
                                    (pattern.front() > ' ' && pattern.front() < '0') ||
                                    std::string_view("[]{}^|?\\").find(pattern.front()) != std::string_view::npos)) {
      result.append({'\\', pattern.front()});
      pattern.remove_prefix(1);
    } else {
      throw CheckpointError(
          describe(where, "an expression with \\p{L}, \\p{N}, \\s, \\S, \\r, \\n, \\t or escaped punctuation",
                   fmt::format("\"\\{}\"", pattern.substr(0, 8))));
    }
  }
  return result;
}

}  // namespace

struct Expression::Compiled {
  std::unique_ptr<icu::RegexPattern> pattern;
};

Expression::Expression(std::string_view pattern, const std::string& where) {
  UErrorCode error = U_ZERO_ERROR;
  UParseError place;
  const auto expression = icu::UnicodeString::fromUTF8(translated(pattern, where));
  std::unique_ptr<icu::RegexPattern> compiled(icu::RegexPattern::compile(expression, 0, place, error));
  if (U_FAILURE(error)) {
    throw CheckpointError(
        describe(where, "a regular expression", fmt::format("\"{}\" ({})", pattern, u_errorName(error))));
  }
  compiled_ = std::make_unique<const Compiled>(Compiled{std::move(compiled)});
}

Expression::~Expression() = default;

std::vector<Stretch> Expression::split(std::u32string_view text) const {
  const auto utf16 =
      icu::UnicodeString::fromUTF32(reinterpret_cast<const UChar32*>(text.data()), static_cast<int32_t>(text.size()));
  const bool same_positions = utf16.length() == static_cast<int32_t>(text.size());
  UErrorCode error = U_ZERO_ERROR;
  const std::unique_ptr<icu::RegexMatcher> matcher(compiled_->pattern->matcher(utf16, error));
  if (U_FAILURE(error)) throw std::runtime_error(std::string("ICU: ") + u_errorName(error));
  // Some 10,000 steps a character; hostile expressions take any number.
  matcher->setTimeLimit(static_cast<int32_t>(1000 + text.size()), error);
  std::vector<Stretch> result;
  int32_t unit = 0;     // where the characters counted so far end
  size_t position = 0;  // how many they are
  const auto position_of = [&](int32_t next) {
    if (same_positions) return static_cast<size_t>(next);
    position += static_cast<size_t>(utf16.countChar32(unit, next - unit));
    unit = next;
    return position;
  };
  size_t last = 0;
  while (U_SUCCESS(error) && matcher->find(error)) {
    const size_t begin = position_of(matcher->start(error)), end = position_of(matcher->end(error));
    if (last < begin) result.push_back({last, begin, false});
    if (begin < end) result.push_back({begin, end, true});
    last = end;
  }
  if (U_FAILURE(error)) {
    throw DataError(describe("text", "one that the tokenizer's expression can be matched with", u_errorName(error)));
  }
  if (last < text.size()) result.push_back({last, text.size(), false});
  return result;
}

}  // namespace readback::text
