#include "readback/text/ptb_characters.h"

#include <unicode/uchar.h>

#include <string_view>
#include <vector>

namespace readback::text {
namespace {

struct Range {
  uint32_t first, last;
};

bool known_to_unicode_6_3(UChar32 c) {
  UVersionInfo age;
  u_charAge(c, age);
  return age[0] != 0 && (age[0] < 6 || (age[0] == 6 && age[1] <= 3));
}

// Unicode 6.3 had the first two as letters, the others not yet.
bool is_letter(UChar32 c) {
  if (c == 0x1885 || c == 0x1886) return true;
  if ((c >= 0x19B0 && c <= 0x19C9) || c == 0x1CF2 || c == 0x1CF3) return c >= 0x19C1 && c <= 0x19C7;
  return (U_GET_GC_MASK(c) & U_GC_L_MASK) != 0 && known_to_unicode_6_3(c);
}

// Beside letters; marks of scripts that English texts quote.
constexpr Range kWordLetters[] = {
    {0x00AD, 0x00AD}, {0x0237, 0x024F}, {0x02C2, 0x02C5}, {0x02D2, 0x02DF}, {0x02E5, 0x02FF}, {0x0300, 0x037D},
    {0x0384, 0x0385}, {0x03CF, 0x03CF}, {0x03F6, 0x03F6}, {0x03FC, 0x03FF}, {0x0483, 0x0487}, {0x04CF, 0x04CF},
    {0x04F6, 0x04FF}, {0x0510, 0x0525}, {0x055A, 0x055F}, {0x0591, 0x05BD}, {0x05BF, 0x05BF}, {0x05C1, 0x05C2},
    {0x05C4, 0x05C5}, {0x05C7, 0x05C7}, {0x0615, 0x061A}, {0x063B, 0x063F}, {0x064B, 0x065E}, {0x0670, 0x0670},
    {0x06D6, 0x06EF}, {0x06FA, 0x06FF}, {0x070F, 0x070F}, {0x0711, 0x0711}, {0x0730, 0x074F}, {0x0750, 0x077F},
    {0x07A6, 0x07B1}, {0x07CA, 0x07F5}, {0x07FA, 0x07FA}, {0x0900, 0x0903}, {0x093C, 0x093C}, {0x093E, 0x094E},
    {0x0951, 0x0955}, {0x0962, 0x0963}, {0x0981, 0x0983}, {0x09BC, 0x09C4}, {0x09C7, 0x09C8}, {0x09CB, 0x09CD},
    {0x09D7, 0x09D7}, {0x09E2, 0x09E3}, {0x0A01, 0x0A03}, {0x0A3C, 0x0A3C}, {0x0A3E, 0x0A4F}, {0x0A81, 0x0A83},
    {0x0ABC, 0x0ACF}, {0x0B82, 0x0B82}, {0x0BBE, 0x0BC2}, {0x0BC6, 0x0BC8}, {0x0BCA, 0x0BCD}, {0x0C01, 0x0C03},
    {0x0C3E, 0x0C56}, {0x0D3E, 0x0D44}, {0x0D46, 0x0D48}, {0x0E30, 0x0E3A}, {0x0E47, 0x0E4E}, {0x0EB1, 0x0EBC},
    {0x0EC8, 0x0ECD}};

constexpr Range kSymbols[] = {
    {'+', '+'},       {'%', '&'},       {'~', '~'},       {'^', '^'},       {'|', '|'},       {'\\', '\\'},
    {0x00A6, 0x00A9}, {0x00AC, 0x00AC}, {0x00AE, 0x00BA}, {0x00D7, 0x00D7}, {0x00F7, 0x00F7}, {0x0387, 0x0387},
    {0x05BE, 0x05BE}, {0x05C0, 0x05C0}, {0x05C3, 0x05C3}, {0x05C6, 0x05C6}, {0x05F3, 0x05F4}, {0x0600, 0x0603},
    {0x0606, 0x060A}, {0x060C, 0x060C}, {0x0614, 0x0614}, {0x061B, 0x061B}, {0x061E, 0x061E}, {0x066A, 0x066A},
    {0x066D, 0x066D}, {0x0703, 0x070D}, {0x07F6, 0x07F8}, {0x0964, 0x0965}, {0x0E4F, 0x0E4F}, {0x1FBD, 0x1FBD},
    {0x2016, 0x2017}, {0x2020, 0x2023}, {0x2030, 0x2038}, {0x203B, 0x203B}, {0x203E, 0x2042}, {0x2044, 0x2044},
    {0x207A, 0x207F}, {0x208A, 0x208E}, {0x2100, 0x214F}, {0x2190, 0x2BFF}, {0x3012, 0x3012}, {0x30FB, 0x30FB},
    {0xFF01, 0xFF0F}, {0xFF1A, 0xFF20}, {0xFF3B, 0xFF40}, {0xFF5B, 0xFF65}};

std::vector<PtbClass> make_table() {
  std::vector<PtbClass> table(kPtbEnd + 1);
  const auto add = [&](PtbClass mask, uint32_t first, uint32_t last) {
    for (uint32_t c = first; c <= last; ++c) table[c] |= mask;
  };
  const auto add_each = [&](PtbClass mask, std::u16string_view characters) {
    for (const char16_t c : characters) table[c] |= mask;
  };
  const auto add_all_but = [&](PtbClass mask, std::u16string_view characters) {
    for (uint32_t c = 0; c < kPtbEnd; ++c) {
      if (characters.find(static_cast<char16_t>(c)) == std::u16string_view::npos) table[c] |= mask;
    }
  };
  for (uint32_t c = 0; c < kPtbEnd; ++c) {
    if (is_letter(static_cast<UChar32>(c))) table[c] |= kPtbLetter | kPtbWordLetter;
    if (u_charType(static_cast<UChar32>(c)) == U_DECIMAL_DIGIT_NUMBER && known_to_unicode_6_3(static_cast<UChar32>(c)))
      table[c] |= kPtbDigit;
  }
  for (const Range& range : kWordLetters) add(kPtbWordLetter, range.first, range.last);
  for (const Range& range : kSymbols) add(kPtbSymbol, range.first, range.last);
  add(kPtbUpper, 'A', 'Z');
  add(kPtbLower, 'a', 'z');
  add(kPtbAsciiDigit, '0', '9');
  add_each(kPtbVowel, u"aeiouyAEIOUY");
  add_each(kPtbSpace, u" \t\u00A0\u3000");
  add(kPtbSpace, 0x2000, 0x200A);
  add_each(kPtbNewline, u"\r\n\v\f\u0085\u2028\u2029");
  add_each(kPtbIgnored, u"\u200B\u200E\u200F\uFEFF");
  table[0] |= kPtbIgnored;
  table[0x7F] |= kPtbIgnored;
  add_all_but(kPtbUrl, u" \t\n\f\r\"<>|(){}");
  add_all_but(kPtbUrlPath, u" \t\n\f\r\"<>|()");
  add_all_but(kPtbUrlEnd, u" \t\n\f\r\"<>|.!?(){},-");
  add_all_but(kPtbWwwLabel, u" \t\n\f\r\"<>|.!?(){},");
  add_all_but(kPtbHostLabel, u" \t\n\f\r\"`'<>|.!?(){}$");
  for (uint32_t c = ','; c <= '_'; ++c) table[c] &= ~kPtbHostLabel;  // the grammar means ",", "-", "_"; it says a range
  add_all_but(kPtbEmailLocal, u" \t\n\f\r\"<>|()\u00A0{}");
  add_all_but(kPtbEmailLabel, u" \t\n\f\r\"<>|(){}.\u00A0");
  add_each(kPtbQuote,
           u"`\u2018\u2019\u201A\u201B\u201C\u201D\u0091\u0092\u0093\u0094\u201E\u201F\u2039\u203A\u00AB\u00BB");
  add_each(kPtbApostrophe, u"'\u0092\u2019");
  add_each(kPtbAnyApostrophe, u"'\u0092\u2019`\u0091\u2018\u201B");
  add_each(kPtbHyphen, u"-_\u058A\u2010\u2011");
  add_each(kPtbNumberMark, u".:,\u00AD\u066B\u066C");
  add_each(kPtbSuperscript, u"\u2070\u00B9\u00B2\u00B3");
  add(kPtbSuperscript, 0x2074, 0x2079);
  add(kPtbSubscript, 0x2080, 0x2089);
  add_each(kPtbScriptSign, u"\u207A\u207B\u208A\u208B");
  add_each(kPtbFraction, u"\u00BC\u00BD\u00BE");
  add(kPtbFraction, 0x2153, 0x215E);
  add_each(kPtbCurrency, u"\u00A2\u00A3\u00A4\u00A5\u0080\u20A0\u20AC\u060B\u0E3F\u20A4\uFFE0\uFFE1\uFFE5\uFFE6");
  add_each(kPtbStop, u".\u00A1\u00BF\u037E\u0589\u061F\u06D4\u0700\u0701\u0702\u07FA\u3002");
  add_each(kPtbComma, u",;:\u3001");
  add_each(kPtbDash, u"\u0096\u0097\u2013\u2014\u2015");
  return table;
}

}  // namespace

const PtbClass* ptb_classes() {
  static const std::vector<PtbClass> table = make_table();
  return table.data();
}

}  // namespace readback::text
