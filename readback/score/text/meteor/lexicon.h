// Words and sentences with all that METEOR's matchers ask about them.
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "readback/score/text/meteor/tables.h"

namespace readback::score {

// What two words are compared by. The jar takes Java's 32-bit String.hashCode of words and stems for themselves, and so
// does this.
struct MeteorKeys {
  int32_t word, stem;
  uint64_t synsets;  // one bit set for each synset: no bit in common means no synset in common
};

struct MeteorWord {
  MeteorKeys keys;
  bool is_function_word;
  uint32_t number;                // in the tables
  uint32_t phrase;                // the phrase of this word alone, or kNone where none begins with it
  std::vector<uint32_t> synsets;  // ascending
};

// Words start … start + length − 1 of a sentence are a phrase of the tables.
struct MeteorPhrase {
  uint32_t node;
  int start, length;
  std::span<const uint32_t> paraphrases;  // nodes
};

struct MeteorSentence {
  std::vector<const MeteorWord*> words;  // of the lexicon that made it
  std::vector<MeteorKeys> keys;          // of the words
  std::vector<MeteorPhrase> phrases;     // by start, then length
  std::vector<MeteorPhrase> by_node;     // the same by node, then start
  uint64_t phrase_bits = 0;              // bit node % 64 of each phrase
};

// Looks each distinct word up once. Not for several threads at a time.
class MeteorLexicon {
 public:
  explicit MeteorLexicon(std::shared_ptr<const MeteorTables> tables) : tables_(std::move(tables)) {}
  // Errors: DataError when the tables are damaged.
  MeteorSentence analyse(std::string_view text);

 private:
  const MeteorWord& word(const std::string& text);

  std::shared_ptr<const MeteorTables> tables_;
  std::unordered_map<std::string, MeteorWord> words_;
};

}  // namespace readback::score
