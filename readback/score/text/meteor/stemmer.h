// The Snowball English stemmer ("Porter2"), in the version that METEOR 1.5 carries.
#pragma once
#include <string>

namespace readback::score {

// The stem of one lower-case word, in UTF-16 because the algorithm counts characters as Java does.
// Source: http://snowball.tartarus.org/algorithms/english/stemmer.html
std::u16string stem_english(std::u16string word);

}  // namespace readback::score
