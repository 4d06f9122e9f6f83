// The character classes of the PTB tokenizer's grammar, one table for all UTF-16 units.
#pragma once
#include <cstdint>

namespace readback::text {

using PtbClass = uint32_t;
inline constexpr PtbClass kPtbLetter = 1 << 0;      // general category L, as of Unicode 6.3
inline constexpr PtbClass kPtbDigit = 1 << 1;       // Nd, as of Unicode 6.3
inline constexpr PtbClass kPtbWordLetter = 1 << 2;  // what words are made of: letters, most marks, the soft hyphen
inline constexpr PtbClass kPtbUpper = 1 << 3;       // A to Z
inline constexpr PtbClass kPtbLower = 1 << 4;       // a to z
inline constexpr PtbClass kPtbAsciiDigit = 1 << 5;
inline constexpr PtbClass kPtbVowel = 1 << 6;  // a e i o u y, both cases
inline constexpr PtbClass kPtbSpace = 1 << 7;
inline constexpr PtbClass kPtbNewline = 1 << 8;
inline constexpr PtbClass kPtbIgnored = 1 << 9;         // NUL, DEL and zero-width characters between tokens
inline constexpr PtbClass kPtbSymbol = 1 << 10;         // stands alone
inline constexpr PtbClass kPtbUrl = 1 << 11;            // the inside of an http address
inline constexpr PtbClass kPtbUrlPath = 1 << 12;        // the inside of a path after a bare host
inline constexpr PtbClass kPtbUrlEnd = 1 << 13;         // the last character of either
inline constexpr PtbClass kPtbWwwLabel = 1 << 14;       // between the dots of a host after "www."
inline constexpr PtbClass kPtbHostLabel = 1 << 15;      // between the dots of other hosts
inline constexpr PtbClass kPtbEmailLocal = 1 << 16;     // before the @
inline constexpr PtbClass kPtbEmailLabel = 1 << 17;     // between the dots after it
inline constexpr PtbClass kPtbQuote = 1 << 18;          // quotation marks other than ' and "
inline constexpr PtbClass kPtbApostrophe = 1 << 19;     // ' ’ and its place in Windows-1252
inline constexpr PtbClass kPtbAnyApostrophe = 1 << 20;  // those, and ` ‘ ‛
inline constexpr PtbClass kPtbHyphen = 1 << 21;
inline constexpr PtbClass kPtbNumberMark = 1 << 22;  // inside numbers
inline constexpr PtbClass kPtbSuperscript = 1 << 23;
inline constexpr PtbClass kPtbSubscript = 1 << 24;
inline constexpr PtbClass kPtbScriptSign = 1 << 25;  // raised or lowered plus and minus
inline constexpr PtbClass kPtbFraction = 1 << 26;
inline constexpr PtbClass kPtbCurrency = 1 << 27;  // other than $ and #
inline constexpr PtbClass kPtbStop = 1 << 28;      // ends sentences; each is a token
inline constexpr PtbClass kPtbComma = 1 << 29;     // , ; : 、
inline constexpr PtbClass kPtbDash = 1 << 30;      // en and em dashes

inline constexpr PtbClass kPtbAsciiLetter = kPtbUpper | kPtbLower;
inline constexpr PtbClass kPtbAsciiAlnum = kPtbAsciiLetter | kPtbAsciiDigit;
inline constexpr PtbClass kPtbBlank = kPtbSpace | kPtbNewline;

// What stands behind the end of the text; in no class.
inline constexpr uint32_t kPtbEnd = 0x10000;

// 65537 entries, one for each UTF-16 unit and one for kPtbEnd.
const PtbClass* ptb_classes();

}  // namespace readback::text
