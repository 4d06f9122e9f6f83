#include "readback/text/ptb_tokenizer.h"

#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>
#include <unicode/utf8.h>

#include <algorithm>
#include <iterator>

#include "readback/text/ptb_scanner.h"

namespace readback::text {
namespace {

using Tokens = std::vector<std::string>;

// Farther than this behind a caption's end no rule looks that people could notice.
constexpr size_t kLookahead = 256;

void append_utf16(std::u16string& text, std::string_view caption) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(caption.data());
  const auto size = static_cast<int64_t>(caption.size());
  for (int64_t i = 0; i < size;) {
    UChar32 c = bytes[i];
    if (c < 0x80) {
      ++i;
    } else if (c == 0xED && i + 1 < size && bytes[i + 1] >= 0xA0 && bytes[i + 1] <= 0xBF) {
      c = 0xFFFD;  // the code of a surrogate, whole or not, is one error to Java and several to ICU
      i += i + 2 < size && U8_IS_TRAIL(bytes[i + 2]) ? 3 : 2;
    } else {
      U8_NEXT_OR_FFFD(bytes, i, size, c);
    }
    if (c > 0xFFFF) {
      text += static_cast<char16_t>(U16_LEAD(c));
      text += static_cast<char16_t>(U16_TRAIL(c));
    } else {
      text += static_cast<char16_t>(c == '\n' ? ' ' : c);
    }
  }
}

// As Java does it: the last sigma of a word is another letter, and a hyphen does not end the word.
std::string lower_unicode(std::u16string token) {
  const auto is_cased = [](char16_t c) { return u_hasBinaryProperty(c, UCHAR_CASED) != 0; };
  for (auto at = token.begin(); (at = std::find(at, token.end(), u'\u03A3')) != token.end(); ++at) {
    const bool is_last = std::any_of(token.begin(), at, is_cased) && std::none_of(at + 1, token.end(), is_cased);
    *at = is_last ? u'\u03C2' : u'\u03C3';
  }
  std::string result;
  return icu::UnicodeString(token.data(), static_cast<int32_t>(token.size()))
      .toLower(icu::Locale::getEnglish())
      .toUTF8String(result);
}

std::string lower_utf8(std::u16string_view token) {
  std::string result(token.size(), '\0');
  for (size_t i = 0; i < token.size(); ++i) {
    const char16_t c = token[i];
    if (c >= 0x80) return lower_unicode(std::u16string(token));
    result[i] = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
  }
  return result;
}

void replace_all(std::u16string& text, std::u16string_view from, std::u16string_view to) {
  for (size_t at = text.find(from); at != std::u16string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

// What the characters of a token become.
struct Replacement {
  std::u16string_view from, to;
};
constexpr Replacement kDoubleQuotes[] = {{u"\"", u"''"}, {u"&quot;", u"''"}};
constexpr Replacement kQuotes[] = {{u"&apos;", u"'"},  {u"\u0091", u"`"},  {u"\u2018", u"`"},  {u"\u201B", u"`"},
                                   {u"\u2039", u"`"},  {u"\u0092", u"'"},  {u"\u2019", u"'"},  {u"\u203A", u"'"},
                                   {u"\u0093", u"``"}, {u"\u201C", u"``"}, {u"\u00AB", u"``"}, {u"\u0094", u"''"},
                                   {u"\u201D", u"''"}, {u"\u00BB", u"''"}};
constexpr Replacement kSpaces[] = {{u" ", u"\u00A0"}};
constexpr Replacement kSpacesAndParentheses[] = {{u" ", u"\u00A0"}, {u"(", u"-LRB-"}, {u")", u"-RRB-"}};
constexpr Replacement kBrackets[] = {{u"(", u"-LRB-"}, {u")", u"-RRB-"}, {u"[", u"-LSB-"},
                                     {u"]", u"-RSB-"}, {u"{", u"-LCB-"}, {u"}", u"-RCB-"}};
constexpr Replacement kParentheses[] = {{u"(", u"-LRB-"}, {u")", u"-RRB-"}};
constexpr Replacement kMoney[] = {{u"\u00A2", u"cents"}, {u"\u00A3", u"#"}, {u"\u0080", u"$"},
                                  {u"\u00A4", u"$"},     {u"\u20A0", u"$"}, {u"\u20AC", u"$"}};
constexpr Replacement kFractions[] = {
    {u"\u00BC", u"1/4"}, {u"\u00BD", u"1/2"}, {u"\u00BE", u"3/4"}, {u"\u2153", u"1/3"}, {u"\u2154", u"2/3"}};

std::span<const Replacement> replacements(PtbRule rule) {
  switch (rule) {
    case PtbRule::kCliticThenOther:
    case PtbRule::kNotThenOther:
    case PtbRule::kClitic:
    case PtbRule::kNot:
    case PtbRule::kQuote:
      return kQuotes;
    case PtbRule::kDoubleQuote:
    case PtbRule::kDoubleQuoteBefore:
      return kDoubleQuotes;
    case PtbRule::kTag:
    case PtbRule::kFractionSlash:
      return kSpaces;
    case PtbRule::kPhone:
      return kSpacesAndParentheses;
    case PtbRule::kBracket:
      return kBrackets;
    case PtbRule::kSmiley:
    case PtbRule::kAsianSmiley:
      return kParentheses;
    case PtbRule::kCurrency:
      return kMoney;
    case PtbRule::kFraction:
      return kFractions;
    default:
      return {};
  }
}

bool drops_soft_hyphens(PtbRule rule) {
  switch (rule) {
    case PtbRule::kWordBeforeClitic:
    case PtbRule::kWordBeforeNot:
    case PtbRule::kWord:
    case PtbRule::kWordDotBeforeComma:
    case PtbRule::kNumber:
    case PtbRule::kHyphenWord:
    case PtbRule::kHyphenWordDot:
      return true;
    default:
      return false;
  }
}

bool undoes_ampersands(PtbRule rule) {
  return rule == PtbRule::kEntity || rule == PtbRule::kTreebankWord || rule == PtbRule::kAmpersand ||
         rule == PtbRule::kAmpersandDot;
}

// &amp; in any case becomes &.
void undo_ampersands(std::u16string& token) {
  for (size_t at = 0; (at = token.find(u'&', at)) != std::u16string::npos; ++at) {
    if (lower_utf8(std::u16string_view(token).substr(at, 5)) == "&amp;") token.erase(at + 1, 4);
  }
}

// The token as it is printed; empty if pycocoevalcap removes it.
std::string finish(std::u16string_view token, PtbRule rule) {
  switch (rule) {
    case PtbRule::kNothing:
    case PtbRule::kDash:
    case PtbRule::kEllipsis:
    case PtbRule::kQuoteBefore:
      return {};
    case PtbRule::kLess:
      return "<";
    case PtbRule::kGreater:
      return ">";
    case PtbRule::kHyphens:
      return token.size() > 4 ? std::string(token.size(), '-') : std::string();
    default:
      break;
  }
  if (rule == PtbRule::kWord && token.find(u'\u00AD') == std::u16string_view::npos) return lower_utf8(token);
  std::u16string text(token);
  for (const Replacement& replacement : replacements(rule)) replace_all(text, replacement.from, replacement.to);
  if (undoes_ampersands(rule)) undo_ampersands(text);
  if (drops_soft_hyphens(rule)) std::erase(text, u'\u00AD');
  std::string result = lower_utf8(text);
  constexpr std::string_view kRemoved[] = {"''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"};
  if (std::find(std::begin(kRemoved), std::end(kRemoved), result) != std::end(kRemoved)) result.clear();
  return result;
}

// The tokens between `begin` and `end`.
Tokens scan(std::u16string_view text, size_t begin, size_t end) {
  PtbScanner scanner(text.substr(0, std::min(text.size(), end + kLookahead)), end);
  Tokens tokens;
  for (size_t at = begin; at < end;) {
    if (text[at] == ' ') {
      at = scanner.run(at, kPtbSpace);
      continue;
    }
    const PtbMatch match = scanner.match(at);
    std::string token = finish(text.substr(at, match.length), match.rule);
    if (!token.empty()) tokens.push_back(std::move(token));
    at = match.next;
  }
  return tokens;
}

}  // namespace

Tokens ptb_tokens(std::string_view caption) {
  std::u16string text;
  append_utf16(text, caption);
  const size_t end = text.size();
  text += u'\n';
  return scan(text, 0, end);
}

std::vector<Tokens> ptb_tokens(std::span<const std::string> captions) {
  std::u16string text;
  std::vector<size_t> ends;
  for (const std::string& caption : captions) {
    append_utf16(text, caption);
    ends.push_back(text.size());
    text += u'\n';
  }
  if (!text.empty()) text.pop_back();  // nothing follows the last one
  std::vector<Tokens> result;
  for (size_t i = 0; i < ends.size(); ++i) result.push_back(scan(text, i == 0 ? 0 : ends[i - 1] + 1, ends[i]));
  return result;
}

}  // namespace readback::text
