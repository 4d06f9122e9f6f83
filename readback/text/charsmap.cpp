#include "readback/text/charsmap.h"

#include <fmt/format.h>
#include <unicode/brkiter.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <stdexcept>

#include "readback/base/error.h"
#include "readback/text/unicode.h"

namespace readback::text {
namespace {

std::string decode_base64(std::string_view text, const std::string& where) {
  while (text.ends_with('=')) text.remove_suffix(1);
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  uint32_t bits = 0;
  int count = 0;
  for (const char character : text) {
    const size_t value = kAlphabet.find(character);
    if (value == std::string_view::npos) {
      throw CheckpointError(describe(where, "base64", fmt::format("\"{}\"", character)));
    }
    bits = bits << 6 | static_cast<uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes.push_back(static_cast<char>(bits >> count));
  }
  return bytes;
}

// Characters below this are clusters of their own, but for CR LF.
constexpr char32_t kFirstMark = 0x300;

bool is_simple(std::u32string_view text) {
  return std::all_of(text.begin(), text.end(), [](char32_t c) { return c < kFirstMark && c != '\r'; });
}

// `visit(begin, end)` for each grapheme cluster.
template <typename Visit>
void for_each_cluster(std::u32string_view text, const Visit& visit) {
  if (is_simple(text)) {
    for (size_t i = 0; i < text.size(); ++i) visit(i, i + 1);
    return;
  }
  UErrorCode error = U_ZERO_ERROR;
  static const std::unique_ptr<const icu::BreakIterator> prototype(
      icu::BreakIterator::createCharacterInstance(icu::Locale::getRoot(), error));
  if (prototype == nullptr) throw std::runtime_error("ICU: its data has no grapheme clusters");
  std::u32string known(text);  // with marks that every ICU knows
  std::replace_if(known.begin(), known.end(), is_recent_mark, kFirstMark);
  const auto utf16 =
      icu::UnicodeString::fromUTF32(reinterpret_cast<const UChar32*>(known.data()), static_cast<int32_t>(known.size()));
  const std::unique_ptr<icu::BreakIterator> iterator(prototype->clone());
  iterator->setText(utf16);
  size_t begin = 0;
  for (int32_t unit = 0; unit < utf16.length();) {
    const int32_t next = iterator->next();
    const size_t end = begin + static_cast<size_t>(utf16.countChar32(unit, next - unit));
    visit(begin, end);
    begin = end;
    unit = next;
  }
}

}  // namespace

Charsmap::Charsmap(std::string_view base64, const std::string& where) {
  const std::string bytes = decode_base64(base64, where);
  uint32_t size = 0;
  if (bytes.size() >= sizeof size) std::memcpy(&size, bytes.data(), sizeof size);
  if (bytes.size() < sizeof size || size > bytes.size() - sizeof size || size < sizeof(uint32_t)) {
    throw CheckpointError(describe(where, "a trie of the size that the first four bytes say",
                                   fmt::format("{} bytes, of which {}", bytes.size(), size)));
  }
  units_.resize(size / sizeof(uint32_t));
  std::memcpy(units_.data(), bytes.data() + sizeof size, units_.size() * sizeof(uint32_t));
  replacements_ = bytes.substr(sizeof size + units_.size() * sizeof(uint32_t));
  if (encode_utf8(decode_utf8(replacements_)) != replacements_) {
    throw CheckpointError(describe(where, "replacements in UTF-8", "ill-formed bytes"));
  }
}

bool Charsmap::replace(std::string_view stretch, std::u32string& result) const {
  const auto offset = [](uint32_t unit) { return uint64_t{unit >> 10} << ((unit & (1u << 9)) >> 6); };
  uint64_t node = offset(units_[0]);
  for (const char character : stretch) {
    const auto byte = static_cast<uint8_t>(character);
    if (byte == 0) return false;
    node ^= byte;
    if (node >= units_.size()) return false;
    const uint32_t unit = units_[node];
    if ((unit & (1u << 31 | 0xFF)) != byte) return false;
    node ^= offset(unit);
    if ((unit >> 8 & 1) == 0) continue;
    if (node >= units_.size()) return false;
    const uint32_t begin = units_[node] & ((1u << 31) - 1);
    if (begin > replacements_.size()) return false;
    result += decode_utf8(std::string_view(replacements_).substr(begin, replacements_.find('\0', begin) - begin));
    return true;
  }
  return false;
}

std::u32string Charsmap::apply(std::u32string_view text) const {
  std::u32string result;
  result.reserve(text.size());
  std::string bytes;
  for_each_cluster(text, [&](size_t begin, size_t end) {
    bytes.clear();
    for (size_t i = begin; i < end && bytes.size() < 6; ++i) append_utf8(bytes, text[i]);
    if (bytes.size() < 6 && replace(bytes, result)) return;
    for (size_t i = begin; i < end; ++i) {
      bytes.clear();
      append_utf8(bytes, text[i]);
      if (!replace(bytes, result)) result.push_back(text[i]);
    }
  });
  return result;
}

}  // namespace readback::text
