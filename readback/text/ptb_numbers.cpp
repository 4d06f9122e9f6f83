// Numbers, dates, fractions, phone numbers and money.
#include <algorithm>

#include "readback/text/ptb_scanner.h"

namespace readback::text {

void PtbScanner::offer_numbers() {
  const auto digits = [&](size_t at) { return run(at, kPtbDigit) - at; };

  // 1/2/2024, 24-12-99
  if (const size_t first = digits(begin_); first == 1 || first == 2) {
    const auto is_separator = [&](size_t at) { return is_any(at, u"-/"); };
    const size_t second = begin_ + first + 1, count = digits(second), third = second + count + 1;
    if (is_separator(second - 1) && (count == 1 || count == 2) && is_separator(third - 1) && digits(third) >= 2) {
      offer(PtbRule::kDate, third + std::min(digits(third), size_t{4}) - begin_);
    }
  }

  // 1,000.5, -3, .5
  const size_t number = begin_ + is_any(begin_, u"+-");
  size_t end = run(number, kPtbDigit);
  while (is(end, kPtbNumberMark) && is(end + 1, kPtbDigit)) end = run(end + 1, kPtbDigit);
  if (end > number) offer(PtbRule::kNumber, end - begin_);

  const size_t script = begin_ + is(begin_, kPtbScriptSign);
  end = run(script, is(script, kPtbSuperscript) ? kPtbSuperscript : kPtbSubscript);
  if (end > script) offer(PtbRule::kScript, end - begin_);

  // 3/4, 1 3/4, 1-3\/4, 3⁄4
  const auto fraction_end = [&](size_t at) {
    const size_t count = digits(at);
    if (count < 1 || count > 4) return at;
    size_t slash = at + count;
    if (is_char(slash, '\\') && is_char(slash + 1, '/')) ++slash;
    const size_t below = is_any(slash, u"/\u2044") ? digits(slash + 1) : 0;
    return below ? slash + 1 + std::min(below, size_t{4}) : at;
  };
  offer(PtbRule::kFractionSlash, fraction_end(begin_) - begin_);
  if (const size_t whole = digits(begin_); whole >= 1 && whole <= 4 && is_any(begin_ + whole, u"- \u00A0")) {
    const size_t above = begin_ + whole + 1;
    if (fraction_end(above) > above) offer(PtbRule::kFractionSlash, fraction_end(above) - begin_);
  }
  offer(PtbRule::kFraction, is(begin_, kPtbFraction));

  if (const size_t dollar = run(begin_, kPtbUpper); is_char(dollar, '$')) offer(PtbRule::kDollar, dollar + 1 - begin_);
  offer(PtbRule::kDollar, is_char(begin_, '#'));
  offer(PtbRule::kCurrency, is(begin_, kPtbCurrency));
  offer_phone();
}

// 555-1234, 555 12345, 5551234: three or four digits and three to five, or both without a separator.
size_t PtbScanner::phone_tail_end(size_t at) const {
  const auto digits = [&](size_t from) { return run(from, kPtbAsciiDigit) - from; };
  const size_t first = digits(at);
  if (first >= 6) return at + std::min(first, size_t{9});
  if ((first != 3 && first != 4) || !is_any(at + first, u"- \u00A0")) return at;
  const size_t rest = at + first + 1;
  return digits(rest) >= 3 ? rest + std::min(digits(rest), size_t{5}) : at;
}

void PtbScanner::offer_phone() {
  const auto digits = [&](size_t from) { return run(from, kPtbAsciiDigit) - from; };
  const auto is_area = [&](size_t from) { return digits(from) >= 2 && digits(from) <= 4; };
  const auto offer_tail = [&](size_t at) {
    if (const size_t end = phone_tail_end(at); end > at) offer(PtbRule::kPhone, end - begin_);
  };
  if (is_char(begin_, '(')) {
    const size_t close = begin_ + 1 + digits(begin_ + 1);
    if ((close == begin_ + 3 || close == begin_ + 4) && is_char(close, ')')) {
      offer_tail(close + 1 + is_any(close + 1, u" \u00A0"));
    }
    return;
  }
  const size_t plus = begin_ + (is_char(begin_, '+') ? 1 + is_char(begin_ + 1, '+') : 0);
  if (!is_area(plus)) return;
  const size_t after = plus + digits(plus), second = after + 1;
  if (is_any(after, u"- \u00A0")) {
    offer_tail(second);
    if (is_area(second) && is_any(second + digits(second), u"- \u00A0")) offer_tail(second + digits(second) + 1);
  } else if (is_char(after, '.')) {
    const auto offer_dotted = [&](size_t at) {  // 3 or 4 digits, a dot and 3 to 5 of them
      const size_t count = digits(at), last = at + count + 1;
      if ((count == 3 || count == 4) && is_char(last - 1, '.') && digits(last) >= 3) {
        offer(PtbRule::kPhone, last + std::min(digits(last), size_t{5}) - begin_);
      }
    };
    if (plus == begin_) offer_dotted(second);
    if (is_area(second) && is_char(second + digits(second), '.')) offer_dotted(second + digits(second) + 1);
  }
}

}  // namespace readback::text
