#include "readback/text/bert_words.h"

#include "readback/text/unicode.h"

namespace readback::text {

std::u32string bert_normalize(std::u32string_view text, const BertNormalization& options) {
  std::u32string result;
  result.reserve(text.size());
  for (const char32_t c : text) {
    if (c == '\t' || c == '\n' || c == '\r') {
      result.push_back(' ');
    } else if (c == 0 || c == 0xFFFD || is_other(c)) {
      continue;
    } else if (options.isolate_chinese && is_chinese(c)) {
      result.append({U' ', c, U' '});
    } else {
      result.push_back(c);
    }
  }
  if (options.strip_accents) {
    result = to_nfd(std::move(result));
    std::erase_if(result, is_nonspacing_mark);
  }
  return options.lower_case ? lower(result) : result;
}

void for_each_bert_word(std::u32string_view text, const std::function<void(std::u32string_view)>& visit) {
  size_t begin = 0;
  const auto end_word = [&](size_t end) {
    if (begin < end) visit(text.substr(begin, end - begin));
    begin = end + 1;
  };
  for (size_t i = 0; i < text.size(); ++i) {
    if (is_whitespace(text[i])) {
      end_word(i);
    } else if (is_bert_punctuation(text[i])) {
      end_word(i);
      visit(text.substr(i, 1));
    }
  }
  end_word(text.size());
}

}  // namespace readback::text
