// Unicode as the tokenizers library sees it: each of its parts froze another version of the standard, so each
// predicate here says which one, and gives the same answer with any ICU from 72 on.
#pragma once
#include <string>
#include <string_view>

namespace readback::text {

// Ill-formed UTF-8 becomes U+FFFD, one for each maximal ill-formed part, as Python's errors="replace" and ICU do.
std::u32string decode_utf8(std::string_view text);
void append_utf8(std::string& text, char32_t character);
std::string encode_utf8(std::u32string_view text);

bool is_whitespace(char32_t character);  // White_Space
bool is_word(char32_t character);        // \w: letters, marks, decimal digits, connectors, joiners

// Unicode 16, as the pre-tokenisation expression of CLIP.
bool is_letter(char32_t character);  // \p{L}
bool is_number(char32_t character);  // \p{N}

// Unicode 17.
bool is_numeric(char32_t character);      // Rust's char::is_numeric: category N
bool is_recent_mark(char32_t character);  // continues a grapheme cluster, and came after Unicode 15.0

// Unicode 8, as BERT's normaliser and pre-tokeniser.
bool is_other(char32_t character);  // control, format, private use; unassigned characters are none of these
bool is_nonspacing_mark(char32_t character);
bool is_bert_punctuation(char32_t character);  // categories P*, and all ASCII punctuation
bool is_chinese(char32_t character);           // the CJK blocks that BERT isolates

// Unicode 17, character by character: no final sigma, and İ becomes i and a dot above.
std::u32string lower(std::u32string_view text);

// Unicode 9.
std::u32string to_nfc(std::u32string text);
std::u32string to_nfd(std::u32string text);

}  // namespace readback::text
