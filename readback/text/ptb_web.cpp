// Tags, addresses and names of the web.
#include <algorithm>

#include "readback/text/ptb_scanner.h"

namespace readback::text {

// <name attribute other="value"/>, </name>, <!anything>, <?anything>
size_t PtbScanner::tag(size_t at) const {
  if (!is_char(at, '<')) return 0;
  const auto is_name = [&](size_t i) { return is(i, kPtbAsciiAlnum) || is_any(i, u"_:.-"); };
  const auto spaces_end = [&](size_t i) {
    while (is_char(i, ' ')) ++i;
    return i;
  };
  const auto name_end = [&](size_t i) {
    while (is_name(i)) ++i;
    return i;
  };
  size_t end = at + 1;
  if (is_any(end, u"!?")) {
    if (!is(end + 1, kPtbAsciiLetter) && !is_char(end + 1, '-')) return 0;
    while (end < text_.size() && !is_any(end, u">\r\n")) ++end;
  } else if (is_char(end, '/')) {
    if (!is(++end, kPtbAsciiLetter)) return 0;
    end = name_end(end);
  } else {
    if (!is(end, kPtbAsciiLetter)) return 0;
    end = name_end(end);
    while (is_char(end, ' ') && is(spaces_end(end), kPtbAsciiLetter)) {
      end = name_end(spaces_end(end));
      size_t value = spaces_end(end);
      if (!is_char(value, '=')) continue;
      value = spaces_end(value + 1);
      if (!is_any(value, u"'\"")) return 0;
      const size_t close = text_.find(text_[value], value + 1);
      if (close == std::u16string_view::npos) return 0;
      end = close + 1;
    }
    end = spaces_end(end);
    if (is_char(end, '/')) ++end;
  }
  end = spaces_end(end);
  return is_char(end, '>') ? end + 1 - at : 0;
}

void PtbScanner::offer_web() {
  offer(PtbRule::kTag, tag(begin_));
  for (const std::string_view scheme : {"http://", "https://"}) {
    const size_t host = begin_ + literal(begin_, scheme), end = url_tail_end(host, kPtbUrl);
    if (host > begin_ && end > host) offer(PtbRule::kUrl, end - begin_);
  }
  offer_host();
  offer_email();
  if (is_char(begin_, '@') && (is(begin_ + 1, kPtbAsciiLetter) || is_char(begin_ + 1, '_'))) {
    size_t end = begin_ + 2;
    while (is(end, kPtbAsciiAlnum) || is_char(end, '_')) ++end;
    offer(PtbRule::kTwitter, end - begin_);
  }
  if (is_char(begin_, '#')) {
    size_t end = begin_ + 1;
    while (const size_t letter = word_letter(end)) end += letter;
    if (end > begin_ + 1) offer(PtbRule::kTwitter, end - begin_);
  }
}

// At least two characters, the last of which can end an address; `at` for none.
size_t PtbScanner::url_tail_end(size_t at, PtbClass inside) const {
  size_t end = run(at, inside);
  while (end > at + 1 && !is(end - 1, kPtbUrlEnd)) --end;
  return end > at + 1 ? end : at;
}

void PtbScanner::offer_host() {
  const auto offer_with_path = [&](size_t end) {
    offer(PtbRule::kHost, end - begin_);
    if (is_char(end, '/')) {
      if (const size_t path = url_tail_end(end + 1, kPtbUrlPath); path > end + 1) offer(PtbRule::kHost, path - begin_);
    }
  };
  if (const size_t www = literal(begin_, "www.")) {
    for (size_t label = begin_ + www, dot; (dot = run(label, kPtbWwwLabel)) > label && is_char(dot, '.');) {
      label = dot + 1;
      const size_t letters = std::min(run(label, kPtbAsciiLetter) - label, size_t{4});
      for (size_t length = 2; length <= letters; ++length) offer_with_path(label + length);
    }
  }
  for (size_t label = begin_, dot; (dot = run(label, kPtbHostLabel)) > label && is_char(dot, '.');) {
    label = dot + 1;
    for (const std::string_view domain : {"com", "net", "org", "edu"}) {
      if (literal(label, domain)) offer_with_path(label + 3);
    }
  }
}

// Local part, @ and labels. The local part may hold more of @, so the last one with labels behind it counts.
void PtbScanner::offer_email() {
  const size_t local = begin_ + (is_char(begin_, '<') ? 1 : literal(begin_, "&lt;"));
  if (!is(local, kPtbAsciiAlnum)) return;
  const std::u16string_view inside = text_.substr(0, run(local, kPtbEmailLocal));
  for (size_t at = inside.find(u'@', local); at != std::u16string_view::npos;) {
    size_t end = at + 1;
    for (size_t label = end, next; (next = run(label, kPtbEmailLabel)) > label; label = next + 1) {
      end = next;
      if (!is_char(next, '.')) break;
    }
    if (end > at + 1) offer(PtbRule::kEmail, end + is_char(end, '>') - begin_);
    at = inside.find(u'@', end);
  }
}

}  // namespace readback::text
