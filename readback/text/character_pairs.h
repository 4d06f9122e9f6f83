// Byte-pair encoding over characters, with or without byte fallback: LLaMA's, and GPT-2's over its alphabet for bytes.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "readback/text/byte_pairs.h"
#include "readback/text/vocabulary_map.h"

namespace readback::text {

struct CharacterPairsOptions {
  std::string unknown;         // the token of characters that are not in the vocabulary; empty: they are left out
  bool fuse_unknown = false;   // unknown characters that follow each other are one token
  bool byte_fallback = false;  // a character that is not there is spelled in "<0x00>" to "<0xFF>" where those are
  bool ignore_merges = false;  // a word of the vocabulary is its token whatever the merges say
};

class CharacterPairs {
 public:
  // Errors: CheckpointError naming `where` for merges of tokens that are not there.
  CharacterPairs(const VocabularyMap& vocabulary, const std::vector<std::pair<std::string, std::string>>& merges,
                 CharacterPairsOptions options, const std::string& where);

  // Appends the ids of a word. Errors: DataError for an unknown character when the unknown token is not there.
  void encode(std::u32string_view word, std::vector<int64_t>& ids) const;

 private:
  int64_t unknown_id() const;

  VocabularyMap words_;  // the vocabulary, empty unless merges may be ignored
  CharacterPairsOptions options_;
  std::unordered_map<char32_t, int64_t> characters_;
  std::vector<int64_t> bytes_;  // ids of the bytes, -1 where there is none
  int64_t unknown_;             // -1 when there is none
  BytePairs pairs_;
};

}  // namespace readback::text
