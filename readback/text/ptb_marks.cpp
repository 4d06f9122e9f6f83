// Quotation marks, brackets, dashes, smileys and other signs.
#include <algorithm>

#include "readback/text/ptb_scanner.h"

namespace readback::text {

void PtbScanner::offer_marks() {
  const auto char_run = [&](char16_t c) {
    size_t end = begin_;
    while (is_char(end, c)) ++end;
    return end - begin_;
  };

  offer(PtbRule::kDash, is(begin_, kPtbDash));
  if (is_char(begin_, '&')) {
    for (const std::string_view dash : {"&md;", "&mdash;", "&ndash;"}) offer(PtbRule::kDash, literal(begin_, dash));
    for (const std::string_view entity :
         {"&amp;", "&ht;", "&tl;", "&ur;", "&lr;", "&qc;", "&ql;", "&qr;", "&odq;", "&cdq;"}) {
      offer(PtbRule::kEntity, literal(begin_, entity));
    }
    const size_t number = begin_ + 2, end = run(number, kPtbAsciiDigit);
    if (is_char(begin_ + 1, '#') && end > number && is_char(end, ';')) offer(PtbRule::kEntity, end + 1 - begin_);
    offer(PtbRule::kLess, literal(begin_, "&lt;"));
    offer(PtbRule::kGreater, literal(begin_, "&gt;"));
    offer(PtbRule::kNothing, literal(begin_, "&nbsp;"));
  }
  offer_quotes();
  offer_smileys();

  offer(PtbRule::kLess, is_char(begin_, '<'));
  offer(PtbRule::kGreater, is_char(begin_, '>'));
  for (const char16_t angle : {u'<', u'>'}) {
    if (is_char(begin_, angle) && is_char(begin_ + 1, angle)) offer(PtbRule::kDuckFeet, 2);
  }
  offer(PtbRule::kBracket, is_any(begin_, u"(){}[]"));
  offer(PtbRule::kHyphens, char_run('-'));

  // ..., . . ., …
  offer(PtbRule::kEllipsis, is_any(begin_, u"\u0085\u2026"));
  if (const size_t dots = char_run('.'); dots >= 3) offer(PtbRule::kEllipsis, std::min(dots, size_t{5}));
  size_t pairs = 0;
  while (pairs < 4 && is_char(begin_ + 2 * pairs, '.') && is_any(begin_ + 2 * pairs + 1, u" \u00A0")) ++pairs;
  if (pairs > 0 && !is_char(begin_ + 2 * pairs, '.')) --pairs;
  if (pairs >= 2) offer(PtbRule::kEllipsis, 2 * pairs + 1);

  for (const char16_t mark : {u'@', u'#', u'_', u'*'}) offer(PtbRule::kMarks, char_run(mark));
  size_t stars = begin_;
  while (is_char(stars, '\\') && is_char(stars + 1, '*') && stars < begin_ + 6) stars += 2;
  offer(PtbRule::kMarks, stars - begin_);
  offer(PtbRule::kComma, is(begin_, kPtbComma));
  size_t end = begin_;
  while (is_any(end, u"?!")) ++end;
  offer(PtbRule::kQuestion, end - begin_);
  offer(PtbRule::kStop, is(begin_, kPtbStop));
  offer(PtbRule::kSign, is_any(begin_, u"=/"));
  offer(PtbRule::kSymbol, is(begin_, kPtbSymbol));
  offer(PtbRule::kNothing, run(begin_, kPtbSpace) - begin_);
}

void PtbScanner::offer_quotes() {
  if (const size_t mark = is_char(begin_, '"') ? 1 : literal(begin_, "&quot;")) {
    offer(PtbRule::kDoubleQuote, mark);
    if (is(begin_ + mark, kPtbAsciiAlnum) || is_char(begin_ + mark, '$')) offer(PtbRule::kDoubleQuoteBefore, mark, 1);
  }
  const auto offer_clitic = [&](PtbRule alone, PtbRule before_other, size_t length) {
    offer(alone, length);
    const size_t after = begin_ + length;
    if (length && after < text_.size() && !is(after, kPtbAsciiLetter)) offer(before_other, length, 1);
  };
  offer_clitic(PtbRule::kClitic, PtbRule::kCliticThenOther, clitic(begin_));
  offer_clitic(PtbRule::kNot, PtbRule::kNotThenOther, negation(begin_));
  if (is_char(begin_, '\'')) {
    if (is_char(begin_ + 1, '\'')) offer(PtbRule::kQuote, 2);
    if (is(begin_ + 1, kPtbAsciiLetter) && begin_ + 2 < text_.size() && !is_any(begin_ + 2, u" \t\n\r\u00A0")) {
      offer(PtbRule::kQuoteBefore, 1, 2);
    }
  }
  offer(PtbRule::kQuote, apostrophe(begin_));
  if (is(begin_, kPtbQuote)) offer(PtbRule::kQuote, is(begin_ + 1, kPtbQuote) ? 2 : 1);
}

void PtbScanner::offer_smileys() {
  // :-) ;D <:o) before anything but a letter or digit
  size_t at = begin_ + is_any(begin_, u"<>");
  if (is_any(at, u":;=")) {
    at += 1 + is_any(at + 1, u"-o*'");
    if (is_any(at, u"()DPdpO\\{@|[]") && at + 1 < text_.size() && !is(at + 1, kPtbAsciiAlnum)) {
      offer(PtbRule::kSmiley, at + 1 - begin_, 1);
    }
  }
  // ^_^ (^.^) (>'<)
  constexpr std::u16string_view kEyes = u"-^x=~<>'";
  if (is_any(begin_, kEyes) && is_char(begin_ + 1, '_') && is_any(begin_ + 2, kEyes)) offer(PtbRule::kAsianSmiley, 3);
  if (!is_char(begin_, '(')) return;
  if (is_any(begin_ + 1, kEyes)) {
    const size_t right = begin_ + 2 + is_any(begin_ + 2, u"_.");
    if (is_any(right, kEyes) && is_char(right + 1, ')')) offer(PtbRule::kAsianSmiley, right + 2 - begin_);
    const bool dash_between = is_char(begin_ + 2, '-') && !is_char(begin_ + 1, '-');
    if (dash_between && !is_char(begin_ + 3, '-') && (is_any(begin_ + 3, kEyes) || is_char(begin_ + 3, '`')) &&
        is_char(begin_ + 4, ')')) {
      offer(PtbRule::kAsianSmiley, 5);
    }
  }
}

}  // namespace readback::text
