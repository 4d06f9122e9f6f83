#include "readback/text/character_pairs.h"

#include <algorithm>
#include <iterator>

#include "readback/base/error.h"
#include "readback/text/unicode.h"

namespace readback::text {

CharacterPairs::CharacterPairs(const VocabularyMap& vocabulary,
                               const std::vector<std::pair<std::string, std::string>>& merges,
                               CharacterPairsOptions options, const std::string& where)
    : options_(std::move(options)), unknown_(find_id(vocabulary, options_.unknown)) {
  if (options_.ignore_merges) words_ = vocabulary;
  for (const auto& [token, id] : vocabulary) {
    if (token.size() > 4) continue;  // more bytes than a character has
    const std::u32string characters = decode_utf8(token);
    if (characters.size() == 1) characters_[characters[0]] = id;
  }
  bytes_ = byte_tokens([&](const std::string& token) { return find_id(vocabulary, token); });
  const auto needed = [&](const std::string& token) {
    const int64_t id = find_id(vocabulary, token);
    if (id < 0) throw CheckpointError(describe(where, "merges of tokens in the vocabulary", "\"" + token + "\""));
    return id;
  };
  for (const auto& [left, right] : merges) pairs_.add(needed(left), needed(right), needed(left + right));
}

int64_t CharacterPairs::unknown_id() const {
  if (unknown_ < 0) throw DataError(describe("text", "the unknown token in the vocabulary", "no " + options_.unknown));
  return unknown_;
}

// As the tokenizers library does it, the spelling in bytes comes before unknown characters on its left.
void CharacterPairs::encode(std::u32string_view word, std::vector<int64_t>& ids) const {
  if (options_.ignore_merges) {
    if (const int64_t id = find_id(words_, encode_utf8(word)); id >= 0) {
      ids.push_back(id);
      return;
    }
  }
  std::vector<int64_t> symbols;
  symbols.reserve(word.size());
  bool unknown = false;  // one waits to be added
  for (const char32_t character : word) {
    if (const auto found = characters_.find(character); found != characters_.end()) {
      if (unknown) symbols.push_back(unknown_id());
      unknown = false;
      symbols.push_back(found->second);
      continue;
    }
    if (options_.byte_fallback) {
      std::string bytes;
      append_utf8(bytes, character);
      const auto id_of = [&](char byte) { return bytes_[static_cast<uint8_t>(byte)]; };
      if (std::all_of(bytes.begin(), bytes.end(), [&](char byte) { return id_of(byte) >= 0; })) {
        std::transform(bytes.begin(), bytes.end(), std::back_inserter(symbols), id_of);
        continue;
      }
    }
    if (options_.unknown.empty()) continue;
    if (unknown && !options_.fuse_unknown) symbols.push_back(unknown_id());
    unknown = true;
  }
  if (unknown) symbols.push_back(unknown_id());
  const std::vector<int64_t> merged = pairs_.merge(symbols);
  ids.insert(ids.end(), merged.begin(), merged.end());
}

}  // namespace readback::text
