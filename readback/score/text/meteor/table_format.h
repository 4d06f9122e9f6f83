// The file of METEOR's tables: a header, then arrays that are used where they lie in memory (little-endian).
#pragma once
#include <array>
#include <cstdint>
#include <string_view>

namespace readback::score::meteor_format {

// Words are numbered; phrases are the nodes of a trie of word numbers, node 0 being the empty phrase. "Ends" arrays
// hold one more entry than what they index: the items of i are [ends[i], ends[i + 1]).
enum Section : size_t {
  kText,            // char: the words, one after the other
  kTextEnds,        // uint32: of each word in kText
  kSlots,           // uint32: hash table of word number + 1, 0 where empty; a power of two of them
  kFlags,           // uint8: Flag, of each word
  kSynsetEnds,      // uint32
  kSynsets,         // uint32: WordNet synsets that a word is in, ascending
  kIrregularEnds,   // uint32
  kIrregulars,      // uint32: synsets of the bases of an irregular form, ascending
  kNodeWords,       // uint32: last word of each phrase; siblings lie together, ascending
  kChildEnds,       // uint32: of each phrase in the nodes
  kParaphraseEnds,  // uint32
  kParaphrases,     // uint32: nodes that paraphrase a phrase, in the order of the source file
  kSections,
};

inline constexpr std::array<uint64_t, kSections> kItemSizes = {1, 4, 4, 1, 4, 4, 4, 4, 4, 4, 4, 4};

enum Flag : uint8_t { kFunctionWord = 1, kPrefix = 2, kNumericPrefix = 4, kIrregularForm = 8 };

inline constexpr std::array<char, 16> kMagic = {'r', 'e', 'a', 'd', 'b', 'a', 'c', 'k',
                                                '-', 'm', 'e', 't', 'e', 'o', 'r'};
inline constexpr uint64_t kVersion = 1;

struct Extent {
  uint64_t offset;  // in bytes from the file's start, a multiple of 8
  uint64_t count;   // of items
};

struct Header {
  std::array<char, 16> magic;
  uint64_t version;
  uint64_t file_size;
  std::array<Extent, kSections> sections;
};
static_assert(sizeof(Header) == 16 + 16 + 16 * kSections);

constexpr uint32_t hash_word(std::string_view word) {  // FNV-1a, its high bits mixed into the low ones
  uint32_t hash = 2166136261u;
  for (const char c : word) hash = (hash ^ static_cast<uint8_t>(c)) * 16777619u;
  return hash ^ (hash >> 15);
}

}  // namespace readback::score::meteor_format
