// BERT's text cleaning and its cut into words and punctuation.
#pragma once
#include <functional>
#include <string>
#include <string_view>

namespace readback::text {

struct BertNormalization {
  bool lower_case = true;
  bool strip_accents = true;
  bool isolate_chinese = true;
};

// Control characters go, white space becomes ' ', then CJK, accents and case as asked for.
std::u32string bert_normalize(std::u32string_view text, const BertNormalization& options);

// Words between white space, each punctuation character a word of its own.
void for_each_bert_word(std::u32string_view text, const std::function<void(std::u32string_view)>& visit);

}  // namespace readback::text
