// The words of a caption as the caption metrics count them.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace readback::score {

using Tokens = std::vector<std::string>;

// Words between blanks, unchanged: for text that is tokenized already. Blanks are Unicode's, as in Python's
// str.split().
Tokens split_words(std::string_view text);

// What BLEU and CIDEr count of text::ptb_tokens(): a token with a no-break space in it, such as "1 1/2" or a phone
// number, is two words to pycocoevalcap's BLEU and CIDEr; to its ROUGE-L it is one.
Tokens split_tokens(Tokens tokens);

}  // namespace readback::score
