// Words, words with apostrophes, hyphens, slashes and ampersands.
#include <algorithm>

#include "readback/text/ptb_scanner.h"

namespace readback::text {

void PtbScanner::offer_two_words() {
  struct TwoWords {
    std::string_view both;
    size_t first;
  };
  static constexpr TwoWords kTwoWords[] = {{"cannot", 3}, {"'twas", 2}, {"'tis", 2},  {"gonna", 3},
                                           {"gotta", 3},  {"lemme", 3}, {"gimme", 3}, {"wanna", 3}};
  for (const TwoWords& words : kTwoWords) {
    if (literal(begin_, words.both)) offer(PtbRule::kTwoWords, words.first, words.both.size() - words.first);
  }
}

void PtbScanner::offer_words() {
  word_end_ = begin_;
  for (size_t at = begin_, letter = word_letter(at); letter != 0;) {
    do {
      at += letter;
      letter = is(at, kPtbDigit) ? 1 : word_letter(at);
    } while (letter != 0);
    word_end_ = at;
    if (is_any(at, u".!?")) letter = word_letter(++at);
  }
  const size_t word = word_end_ - begin_;
  offer(PtbRule::kWord, word);
  if (word != 0) {
    if (const size_t following = clitic(word_end_)) offer(PtbRule::kWordBeforeClitic, word, following);
    if (is_char(word_end_, '.') && is(word_end_ + 1, kPtbComma)) offer(PtbRule::kWordDotBeforeComma, word + 1, 1);
  }
  offer_word_parts();
  offer_words_with_apostrophe();
  offer_joined_words();
}

void PtbScanner::offer_word_parts() {
  if (is_any(begin_, u"cC") && is_char(begin_ + 1, '+') && is_char(begin_ + 2, '+')) {
    offer(PtbRule::kProgrammingLanguage, 3);
  }
  if (is_any(begin_, u"cCfF") && is_char(begin_ + 1, '#')) offer(PtbRule::kProgrammingLanguage, 2);

  // do/n't: ASCII letters of which the last is no n, then perhaps soft hyphens.
  const auto is_part = [&](size_t at) { return is(at, kPtbAsciiLetter) || is_char(at, 0xAD); };
  size_t end = begin_;
  while (is_part(end)) ++end;
  if (end > begin_ + 1 && negation(end - 1)) {
    size_t last = end - 2;
    while (last > begin_ && is_char(last, 0xAD)) --last;
    if (is(last, kPtbAsciiLetter) && !is_any(last, u"nN")) {
      offer(PtbRule::kWordBeforeNot, end - 1 - begin_, negation(end - 1));
    }
  }
}

void PtbScanner::offer_words_with_apostrophe() {
  const auto offer_it = [&](size_t length) { offer(PtbRule::kWordWithApostrophe, length); };
  if (const size_t mark = apostrophe(begin_)) {
    const size_t after = begin_ + mark;
    if (literal(after, "n")) offer_it(mark + 1 + apostrophe(after + 1));
    for (const std::string_view ending : {"em", "til", "till", "cause"}) {
      if (literal(after, ending)) offer_it(mark + ending.size());
    }
    if (is(after, kPtbAsciiDigit) && !is_any(after, u"01") && is_char(after + 1, '0') && literal(after + 2, "s")) {
      offer_it(mark + 3);
    }
    if (is(after, kPtbAsciiDigit) && is(after + 1, kPtbAsciiDigit)) {
      if (const size_t following = blank(after + 2)) offer(PtbRule::kYear, mark + 2, following);
    }
    return;
  }
  if (!is(begin_, kPtbLetter)) return;
  for (const std::string_view word : {"dunkin", "somethin", "ol"}) {
    if (literal(begin_, word)) {
      const size_t mark = apostrophe(begin_ + word.size());
      offer_it(mark ? word.size() + mark : 0);
    }
  }
  for (const std::string_view word :
       {"cont'd", "cont'd.", "nor'easter", "c'mon", "e'er", "s'mores", "ev'ry", "li'l", "nat'l"}) {
    offer_it(literal(begin_, word));
  }
  const size_t letters = run(begin_, kPtbLetter);
  const size_t any_mark = any_apostrophe(letters);
  if (any_mark == 0) return;
  const size_t after = letters + any_mark, end = run(after, kPtbLetter);
  if (letters == begin_ + 1) {
    const size_t mark = apostrophe(letters);
    if (is_any(begin_, u"lLdDjJ") && mark) offer_it(1 + mark);
    if ((is(begin_, kPtbUpper) || is_char(begin_, 'n')) && !is_any(begin_, u"IY") && end >= after + 2) {
      offer_it(end - begin_);
    }
    if (literal(begin_, "o") && literal(after, "o")) offer_it(after + 1 - begin_);
    if (literal(begin_, "y") && mark && is(begin_ + 1 + mark, kPtbLetter)) offer(PtbRule::kYApostrophe, 1 + mark, 1);
    if (literal(begin_, "c") && mark && literal(begin_ + 1 + mark, "est")) {
      offer(PtbRule::kTreebankWord, 1 + mark + 3);
    }
  } else if (is(letters - 1, kPtbVowel) && (is(after, kPtbUpper) || is_any(after, u"aeiou"))) {
    offer_it(end - begin_);
  }
  if (letters == begin_ + 3 && literal(begin_, "cap")) {
    const size_t mark = apostrophe(letters);
    if (mark && literal(letters + mark, "n")) offer(PtbRule::kTreebankWord, 3 + mark + 1);
  }
}

// Letters and digits, then up to two parts of hyphen and letters.
size_t PtbScanner::slash_word_end(size_t at) const {
  size_t end = run(at, kPtbAsciiAlnum);
  if (end == at) return at;
  for (int parts = 0; parts < 2 && is_char(end, '-') && is(end + 1, kPtbAsciiLetter); ++parts) {
    end = run(end + 1, kPtbAsciiLetter);
  }
  return end;
}

void PtbScanner::offer_joined_words() {
  const auto offer_with_dot = [&](PtbRule alone, PtbRule with_dot, size_t end) {
    offer(alone, end - begin_);
    if (end > begin_ && is_char(end, '.') && is(end + 1, kPtbComma)) offer(with_dot, end + 1 - begin_, 1);
  };

  // and/or, and\/or
  size_t end = slash_word_end(begin_);
  for (int slashes = 0; slashes < 2 && end > begin_; ++slashes) {
    const size_t slash = is_char(end, '\\') ? end + 1 : end;
    const size_t next = is_char(slash, '/') ? slash_word_end(slash + 1) : slash + 1;
    if (next == slash + 1) break;
    end = next;
    offer(PtbRule::kSlashWords, end - begin_);
  }

  // co-ed, 10,000-strong, non-U.S.-based
  if (is(begin_, kPtbAsciiAlnum)) {
    end = begin_ + 1;
    while (is(end, kPtbAsciiAlnum) || is_any(end, u".,\u00AD")) ++end;
    size_t parts = 0;
    for (; is_char(end, '-'); ++parts) {
      size_t next = end + 1, initials = end + 1;
      while (is(next, kPtbAsciiAlnum) || is_char(next, 0xAD)) ++next;
      while (is(initials, kPtbAsciiLetter) && is_char(initials + 1, '.')) initials += 2;
      if (initials >= end + 5) next = initials;
      if (next == end + 1) break;
      end = next;
    }
    if (parts > 0) offer_with_dot(PtbRule::kHyphenWord, PtbRule::kHyphenWordDot, end);
  }

  // 3rd, l'Oreal-like, words in other scripts with hyphens
  end = begin_;
  for (size_t at = begin_;;) {
    size_t letters = at;
    if (const size_t mark = is_any(at, u"dDoOlL") ? any_apostrophe(at + 1) : 0;
        mark && is(at + 1 + mark, kPtbLetter | kPtbDigit) && is(at + 2 + mark, kPtbLetter | kPtbDigit)) {
      letters = at + 1 + mark;
    }
    const size_t next = run(letters, kPtbLetter | kPtbDigit);
    if (next == letters) break;
    end = next;
    if (!is(end, kPtbHyphen)) break;
    at = end + 1;
  }
  offer_with_dot(PtbRule::kThing, PtbRule::kThingDot, end);

  // AT&T, B+W: capitals only
  if (end = run(begin_, kPtbUpper); end > begin_) {
    size_t parts = 0;
    for (; is_any(end, u"+&"); ++parts) {
      const size_t entity = literal(end, "&amp;");
      const size_t after = is(end + entity, kPtbUpper) && entity ? end + entity : end + 1;
      if (!is(after, kPtbUpper)) break;
      end = run(after, kPtbUpper);
    }
    if (parts > 0) offer_with_dot(PtbRule::kAmpersand, PtbRule::kAmpersandDot, end);
  }

  for (const std::string_view word : {"c.d.s", "pro-", "anti-", "s&p-500", "s&amp;p-500", "s&ls", "s&amp;ls", "-rrb-",
                                      "-lrb-", "-rcb-", "-lcb-", "-rsb-", "-lsb-"}) {
    offer(PtbRule::kTreebankWord, literal(begin_, word));
  }
}

}  // namespace readback::text
