#include "readback/text/unicode.h"

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/uniset.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <array>
#include <memory>
#include <stdexcept>

namespace readback::text {
namespace {

struct Range {
  char32_t first;
  char32_t last;
  int32_t to_lower = 0;
};

// What Unicode 15.1 and 16 added to L and N, and Unicode 16 and 17 to the lower-case mappings: ICU 72 is of 15.0.
constexpr std::array kLetters = {
    Range{0x1C89, 0x1C8A},   Range{0xA7CB, 0xA7CD},   Range{0xA7DA, 0xA7DC},   Range{0x105C0, 0x105F3},
    Range{0x10D4A, 0x10D65}, Range{0x10D6F, 0x10D85}, Range{0x10EC2, 0x10EC4}, Range{0x11380, 0x11389},
    Range{0x1138B, 0x1138B}, Range{0x1138E, 0x1138E}, Range{0x11390, 0x113B5}, Range{0x113B7, 0x113B7},
    Range{0x113D1, 0x113D1}, Range{0x113D3, 0x113D3}, Range{0x11BC0, 0x11BE0}, Range{0x13460, 0x143FA},
    Range{0x16100, 0x1611D}, Range{0x16D40, 0x16D6C}, Range{0x18CFF, 0x18CFF}, Range{0x1E5D0, 0x1E5ED},
    Range{0x1E5F0, 0x1E5F0}, Range{0x2EBF0, 0x2EE5D}};
constexpr std::array kNumbers = {Range{0x10D40, 0x10D49}, Range{0x116D0, 0x116E3}, Range{0x11BF0, 0x11BF9},
                                 Range{0x16130, 0x16139}, Range{0x16D70, 0x16D79}, Range{0x1CCF0, 0x1CCF9},
                                 Range{0x1E5F1, 0x1E5FA}};
constexpr std::array kLower = {Range{0x1C89, 0x1C89, 1},      Range{0xA7CB, 0xA7CB, 0x264 - 0xA7CB},
                               Range{0xA7CC, 0xA7CC, 1},      Range{0xA7CE, 0xA7CE, 1},
                               Range{0xA7D2, 0xA7D2, 1},      Range{0xA7D4, 0xA7D4, 1},
                               Range{0xA7DA, 0xA7DA, 1},      Range{0xA7DC, 0xA7DC, 0x19B - 0xA7DC},
                               Range{0x10D50, 0x10D65, 0x20}, Range{0x16EA0, 0x16EB8, 0x1B}};

// What Unicode 15.1 to 17 added that continues a grapheme cluster.
constexpr std::array kMarks = {
    Range{0x897, 0x897},     Range{0x1ACF, 0x1ADD},   Range{0x1AE0, 0x1AEB},   Range{0x10D69, 0x10D6D},
    Range{0x10EFA, 0x10EFC}, Range{0x113B8, 0x113C0}, Range{0x113C2, 0x113C2}, Range{0x113C5, 0x113C5},
    Range{0x113C7, 0x113CA}, Range{0x113CC, 0x113D0}, Range{0x113D2, 0x113D2}, Range{0x113E1, 0x113E2},
    Range{0x11B60, 0x11B67}, Range{0x11F5A, 0x11F5A}, Range{0x1611E, 0x1612F}, Range{0x1E5EE, 0x1E5EF},
    Range{0x1E6E3, 0x1E6E3}, Range{0x1E6E6, 0x1E6E6}, Range{0x1E6EE, 0x1E6EF}, Range{0x1E6F5, 0x1E6F5}};

template <size_t size>
const Range* find(const std::array<Range, size>& ranges, char32_t character) {
  const auto found = std::find_if(ranges.begin(), ranges.end(), [&](const Range& range) {
    return character >= range.first && character <= range.last;
  });
  return found == ranges.end() ? nullptr : &*found;
}

bool known_to(uint8_t version, char32_t character) {
  if (character < 0x80) return true;
  UVersionInfo age;
  u_charAge(static_cast<UChar32>(character), age);
  return age[0] != 0 && age[0] <= version;
}

// The general category, or unassigned for what came after `version`.
uint32_t category_mask(char32_t character, uint8_t version) {
  return known_to(version, character) ? U_GET_GC_MASK(static_cast<UChar32>(character)) : U_GC_CN_MASK;
}

bool is_ascii_punctuation(char32_t c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

// Decompositions and compositions up to Unicode 9, the tables of the library's normaliser.
std::u32string normalize(std::u32string text, const char* kind) {
  UErrorCode error = U_ZERO_ERROR;
  static const icu::UnicodeSet* known = [] {
    UErrorCode status = U_ZERO_ERROR;
    auto* set = new icu::UnicodeSet(u"[:age=9:]", status);
    if (U_FAILURE(status)) throw std::runtime_error("ICU: its data has no ages of characters");
    set->freeze();
    return set;
  }();
  const icu::Normalizer2* all =
      kind[2] == 'c' ? icu::Normalizer2::getNFCInstance(error) : icu::Normalizer2::getNFDInstance(error);
  if (U_FAILURE(error)) throw std::runtime_error("ICU: its data has no normalisation");
  const icu::FilteredNormalizer2 normalizer(*all, *known);
  const auto utf16 =
      icu::UnicodeString::fromUTF32(reinterpret_cast<const UChar32*>(text.data()), static_cast<int32_t>(text.size()));
  icu::UnicodeString result;
  normalizer.normalize(utf16, result, error);
  text.resize(static_cast<size_t>(result.countChar32()));
  result.toUTF32(reinterpret_cast<UChar32*>(text.data()), static_cast<int32_t>(text.size()), error);
  if (U_FAILURE(error) && error != U_STRING_NOT_TERMINATED_WARNING) throw std::runtime_error(u_errorName(error));
  return text;
}

bool all_below(std::u32string_view text, char32_t limit) {
  return std::all_of(text.begin(), text.end(), [&](char32_t c) { return c < limit; });
}

}  // namespace

std::u32string decode_utf8(std::string_view text) {
  std::u32string result;
  result.reserve(text.size());
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  const auto size = static_cast<int64_t>(text.size());
  for (int64_t i = 0; i < size;) {
    UChar32 character = 0;
    U8_NEXT_OR_FFFD(bytes, i, size, character);
    result.push_back(static_cast<char32_t>(character));
  }
  return result;
}

void append_utf8(std::string& text, char32_t character) {
  char bytes[U8_MAX_LENGTH];
  int32_t size = 0;
  U8_APPEND_UNSAFE(bytes, size, character);
  text.append(bytes, static_cast<size_t>(size));
}

std::string encode_utf8(std::u32string_view text) {
  std::string result;
  result.reserve(text.size());
  for (const char32_t character : text) append_utf8(result, character);
  return result;
}

bool is_whitespace(char32_t c) { return u_isUWhiteSpace(static_cast<UChar32>(c)); }

bool is_word(char32_t c) {
  return u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_ALPHABETIC) || c == 0x200C || c == 0x200D ||
         (U_GET_GC_MASK(static_cast<UChar32>(c)) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0;
}

bool is_letter(char32_t c) { return (category_mask(c, 16) & U_GC_L_MASK) != 0 || find(kLetters, c); }

bool is_number(char32_t c) { return (category_mask(c, 16) & U_GC_N_MASK) != 0 || find(kNumbers, c); }

// Unicode 17 added Tolong Siki's digits and three Chinese numbers.
bool is_numeric(char32_t c) { return is_number(c) || (c >= 0x11DE0 && c <= 0x11DE9) || (c >= 0x16FF4 && c <= 0x16FF6); }

bool is_recent_mark(char32_t c) { return find(kMarks, c) != nullptr; }

bool is_other(char32_t c) { return (category_mask(c, 8) & (U_GC_CC_MASK | U_GC_CF_MASK | U_GC_CO_MASK)) != 0; }

bool is_nonspacing_mark(char32_t c) {
  switch (c) {  // those that changed since
    case 0x1734:
      return true;
    case 0x1885:
    case 0x1886:
    case 0xA9BD:
    case 0x111C9:
      return false;
    default:
      return (category_mask(c, 8) & U_GC_MN_MASK) != 0;
  }
}

bool is_bert_punctuation(char32_t c) {
  return is_ascii_punctuation(c) || (category_mask(c, 8) & U_GC_P_MASK) != 0 || c == 0x111C9 || c == 0x166D;
}

bool is_chinese(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) ||
         (c >= 0x2A700 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) ||
         (c >= 0x2F800 && c <= 0x2FA1F);
}

std::u32string lower(std::u32string_view text) {
  std::u32string result;
  result.reserve(text.size());
  for (const char32_t c : text) {
    if (c < 0x80) {
      result.push_back(c >= 'A' && c <= 'Z' ? c + 32 : c);
    } else if (c == 0x130) {
      result.append({U'i', 0x307});
    } else if (const Range* range = find(kLower, c)) {
      result.push_back(static_cast<char32_t>(static_cast<int32_t>(c) + range->to_lower));
    } else {
      result.push_back(known_to(17, c) ? static_cast<char32_t>(u_tolower(static_cast<UChar32>(c))) : c);
    }
  }
  return result;
}

// Below U+0300 nothing composes, below U+00C0 nothing decomposes.
std::u32string to_nfc(std::u32string text) { return all_below(text, 0x300) ? text : normalize(std::move(text), "nfc"); }
std::u32string to_nfd(std::u32string text) { return all_below(text, 0xC0) ? text : normalize(std::move(text), "nfd"); }

}  // namespace readback::text
