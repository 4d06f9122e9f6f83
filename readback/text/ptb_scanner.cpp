#include "readback/text/ptb_scanner.h"

namespace readback::text {
PtbMatch PtbScanner::match(size_t begin) {
  begin_ = begin;
  // Most tokens are letters before a blank: a word, or two like "cannot".
  if (const size_t end = run(begin, kPtbAsciiLetter); end > begin && is_any(end, u" \n")) {
    best_ = {PtbRule::kWord, end, end - begin, end};
    offer_two_words();
    best_.next = begin + best_.length;
    return best_;
  }
  best_ = {PtbRule::kNothing, begin + 1, 1, begin + 1};
  offer_two_words();
  offer_words();
  offer_web();
  offer_numbers();
  offer_abbreviations();
  offer_file_name();
  offer_marks();
  best_.next = begin + best_.length - (best_.rule == PtbRule::kAbbreviationAtTextEnd);
  return best_;
}

void PtbScanner::offer(PtbRule rule, size_t length, size_t following) {
  const size_t end = begin_ + length + following;
  if (length == 0 || begin_ + length > limit_) return;
  if (end > best_.end || (end == best_.end && rule < best_.rule)) best_ = {rule, end, length, 0};
}

size_t PtbScanner::blank(size_t at) const {
  if (is_char(at, '\r') && is_char(at + 1, '\n')) return 2;
  return is(at, kPtbBlank);
}

size_t PtbScanner::apostrophe(size_t at) const { return is(at, kPtbApostrophe) ? 1 : literal(at, "&apos;"); }

size_t PtbScanner::any_apostrophe(size_t at) const { return is(at, kPtbAnyApostrophe) ? 1 : literal(at, "&apos;"); }

size_t PtbScanner::word_letter(size_t at) const {
  if (is(at, kPtbWordLetter)) return 1;
  if (!is_char(at, '&') || !is_any(at + 1, u"aeiouAEIOU")) return 0;
  for (const std::string_view accent : {"acute;", "grave;", "uml;"}) {
    if (const size_t length = literal(at + 2, accent)) return 2 + length;
  }
  return 0;
}

size_t PtbScanner::clitic(size_t at) const {
  const size_t mark = apostrophe(at);
  if (mark == 0) return 0;
  if (is_any(at + mark, u"msdMSD")) return mark + 1;
  for (const std::string_view ending : {"re", "ve", "ll"}) {
    if (literal(at + mark, ending)) return mark + 2;
  }
  return 0;
}

size_t PtbScanner::negation(size_t at) const {
  const size_t n = literal(at, "n"), mark = n ? any_apostrophe(at + 1) : 0;
  return mark && literal(at + 1 + mark, "t") ? mark + 2 : 0;
}

}  // namespace readback::text
