// The rules of the PTB tokenizer. At each place every rule says how far it matches, together with what has to follow;
// the longest match wins, and of equally long ones the rule that the grammar lists first.
#pragma once
#include <cstdint>
#include <string_view>

#include "readback/text/ptb_characters.h"

namespace readback::text {

// In the order of the grammar. Notation: A/B is an A that a B has to follow.
enum class PtbRule : uint8_t {
  kProgrammingLanguage,  // c++, c#, f#
  kTwoWords,             // cannot, 'twas, gonna: the first of the two
  kTag,                  // <b>, </b>, <!-- … >
  kDash,                 // – —
  kEntity,               // &amp; &#8217;
  kWordBeforeClitic,     // it/'s
  kWordBeforeNot,        // do/n't
  kWord,
  kWordWithApostrophe,  // O'Neil, ma'am, 'em, c'mon
  kYApostrophe,         // y'/all
  kUrl,
  kHost,  // www.example.org/path, example.com
  kEmail,
  kTwitter,  // @name, #topic
  kCliticThenOther,
  kNotThenOther,  // 's, n't
  kDate,
  kNumber,
  kScript,         // ², ₂
  kFractionSlash,  // 1 3/4
  kFraction,       // ½
  kTreebankWord,   // -LRB-, pro-, S&P-500
  kSlashWords,     // and/or
  kDollar,         // $, US$, #
  kCurrency,
  kLetterAtSentenceEnd,       // B. The
  kAbbreviationBeforeNumber,  // no./ 5
  kCompanyBeforeLimited,      // Pty./ Ltd
  kAbbreviation,              // Inc./ a
  kAbbreviationAtTextEnd,     // the same, before one or no character; its stop counts twice
  kTitle,                     // Mr.
  kAcronym,                   // U.S/ x
  kYear,                      // '99
  kFileName,                  // a.jpg/ x
  kWordDotBeforeComma,        // "word." before a comma
  kPhone,
  kDoubleQuoteBefore,
  kDoubleQuote,
  kLess,
  kGreater,
  kSmiley,
  kAsianSmiley,
  kBracket,
  kHyphens,
  kEllipsis,
  kMarks,  // runs of @ # _ *
  kComma,
  kQuestion,  // runs of ? !
  kStop,
  kSign,  // = /
  kHyphenWordDot,
  kHyphenWord,  // co-ed, 1980s-style
  kThingDot,
  kThing,  // d'Or-x, 3rd
  kAmpersandDot,
  kAmpersand,    // AT&T
  kQuoteBefore,  // '/ab
  kClitic,
  kNot,
  kQuote,
  kDuckFeet,  // << >>
  kSymbol,
  kNothing,  // blanks, and what no rule knows
};

struct PtbMatch {
  PtbRule rule = PtbRule::kNothing;
  size_t end = 0;     // of the match with what has to follow
  size_t length = 0;  // of the token
  size_t next = 0;    // where scanning goes on
};

class PtbScanner {
 public:
  // Tokens begin and end before `limit`; what has to follow them may lie behind it.
  PtbScanner(std::u16string_view text, size_t limit) : text_(text), limit_(limit), classes_(ptb_classes()) {}

  // The token at `begin` < limit. It has at least one character.
  PtbMatch match(size_t begin);

  bool is(size_t at, PtbClass mask) const { return (classes_[unit(at)] & mask) != 0; }
  // End of the run of characters of the class.
  size_t run(size_t at, PtbClass mask) const {
    while (is(at, mask)) ++at;
    return at;
  }

 private:
  uint32_t unit(size_t at) const { return at < text_.size() ? text_[at] : kPtbEnd; }
  bool is_char(size_t at, char16_t c) const { return unit(at) == c; }
  bool is_any(size_t at, std::u16string_view characters) const {
    return at < text_.size() && characters.find(text_[at]) != std::u16string_view::npos;
  }
  // The lower-case letter that a letter of the grammar matches in either case, for all that matches it.
  static uint32_t fold(uint32_t c) {
    if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
    return c == 0x130 || c == 0x131 ? 'i' : c == 0x17F ? 's' : c == 0x212A ? 'k' : c;
  }
  // Lengths of what begins at a place, 0 for no match. `lower` is matched without regard to case.
  size_t literal(size_t at, std::string_view lower) const {
    for (size_t i = 0; i < lower.size(); ++i) {
      if (fold(unit(at + i)) != static_cast<uint32_t>(lower[i])) return 0;
    }
    return lower.size();
  }
  size_t blank(size_t at) const;       // one blank; \r\n is one
  size_t apostrophe(size_t at) const;  // also &apos;
  size_t any_apostrophe(size_t at) const;
  size_t word_letter(size_t at) const;  // also &eacute;
  size_t clitic(size_t at) const;       // 's 'm 'd 're 've 'll
  size_t negation(size_t at) const;     // n't
  size_t tag(size_t at) const;
  size_t entry(size_t at, std::string_view pattern) const;  // of a table of abbreviations

  // A token of `length` if `following` characters, counted in the match, come after it; 0 is no match.
  void offer(PtbRule rule, size_t length, size_t following = 0);

  void offer_two_words();
  void offer_words();
  void offer_word_parts();
  void offer_words_with_apostrophe();
  void offer_joined_words();
  void offer_abbreviations();
  void offer_acronyms();
  void offer_letter_at_sentence_end();
  void offer_file_name();
  void offer_web();
  void offer_host();
  void offer_email();
  void offer_numbers();
  void offer_phone();
  void offer_marks();
  void offer_quotes();
  void offer_smileys();

  // Ends of constituents, `at` for no match.
  size_t url_tail_end(size_t at, PtbClass inside) const;
  size_t slash_word_end(size_t at) const;
  size_t phone_tail_end(size_t at) const;

  std::u16string_view text_;
  size_t limit_;
  const PtbClass* classes_;
  size_t begin_ = 0;
  size_t word_end_ = 0;  // of the word at begin_
  PtbMatch best_;
};

}  // namespace readback::text
