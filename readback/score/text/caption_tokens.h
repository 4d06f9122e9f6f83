// The words of a caption as the caption metrics count them.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace readback::score {

using Tokens = std::vector<std::string>;

// Lower-cased words between blanks; punctuation at the ends of words is split off, and the marks that the COCO caption
// evaluation removes (its PTB list: '' ' `` ` . ? ! , : - -- ... ; and brackets) are dropped.
Tokens caption_tokens(std::string_view text);

// Words between blanks, unchanged: for text that is tokenized already.
Tokens split_words(std::string_view text);

}  // namespace readback::score
