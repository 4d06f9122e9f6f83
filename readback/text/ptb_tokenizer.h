// Penn Treebank tokens of captions, as the COCO caption evaluation makes them.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace readback::text {

// Tokens equal to those of PTBTokenizer of Stanford CoreNLP 3.4.1 with -preserveLines -lowerCase, less the marks that
// pycocoevalcap removes: '' ' `` ` . ? ! , : - -- ... ; ("-lrb-" and its like stay, since its list has them in upper
// case). Ill-formed UTF-8 reads as U+FFFD, which is no token. Phone numbers, fractions and tags can hold U+00A0.
// Known differences, none of which the test data has: the two lower-case forms of a capital sigma next to digits and
// marks; a blank other than a space that an address ends in; a face that a slip in the grammar lets begin with ".[^x=";
// tags that span captions, which shift all later lines of pycocoevalcap's output and do not here.
//
// One caption, as a line of its own. A line feed is a blank, as pycocoevalcap makes it.
std::vector<std::string> ptb_tokens(std::string_view caption);

// Captions as pycocoevalcap tokenizes them: all at once, one a line, so that the beginning of a caption decides about
// the end of the one before: "plan B." gives "b." before "Dogs run" and "b" before "The dog".
std::vector<std::vector<std::string>> ptb_tokens(std::span<const std::string> captions);

}  // namespace readback::text
