// The words that METEOR compares: the normalisation that meteor-1.5.jar does with `-l en -norm`.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "readback/score/text/meteor/tables.h"

namespace readback::score {

// Punctuation split off, quotes and dashes made uniform, words joined by dashes taken apart, contractions split
// ("n't" becomes "n", "'t"), abbreviations kept whole by the table's list, all in lower case. It is meant for text that
// may be tokenized already. Ill-formed UTF-8 reads as U+FFFD.
std::vector<std::string> meteor_words(std::string_view text, const MeteorTables& tables);

}  // namespace readback::score
