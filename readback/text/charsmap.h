// SentencePiece's table of characters (precompiled_charsmap): what replaces each stretch of text, found by a trie.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace readback::text {

class Charsmap {
 public:
  // `base64` is of: the trie's size in bytes, the trie as a double array (https://github.com/s-yata/darts-clone), and
  // the replacements, each ended by a zero byte. Errors: CheckpointError naming `where`.
  Charsmap(std::string_view base64, const std::string& where);

  // As the tokenizers library applies it: to grapheme clusters below 6 bytes, of which the shortest prefix that the
  // trie knows replaces all, and else to characters.
  std::u32string apply(std::u32string_view text) const;

 private:
  // Appends the replacement of a stretch of UTF-8, false when there is none.
  bool replace(std::string_view stretch, std::u32string& result) const;

  std::vector<uint32_t> units_;
  std::string replacements_;
};

}  // namespace readback::text
