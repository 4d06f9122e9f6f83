// Makes the bytes of METEOR's tables out of the texts that METEOR ships.
#pragma once
#include <string>
#include <string_view>

namespace readback::score {

// The layouts of meteor-1.5.jar.
struct MeteorSources {
  std::string_view function_words;  // one a line
  std::string_view prefixes;        // abbreviations, one a line; "#NUMERIC_ONLY#" after those that precede numbers
  std::string_view synsets;         // a line with a word, a line with the numbers of its synsets
  std::string_view exceptions;      // a line with a base form, a line with its irregular forms
  std::string_view paraphrases;  // a line with a probability, one with a phrase, one with a phrase that means the same
};

// What MeteorTables::load() reads from a file. WordNet's collocations (words with "_") are left out, since METEOR's
// words never hold that character. Errors: DataError naming the source and the line.
std::string build_meteor_tables(const MeteorSources& sources);

}  // namespace readback::score
