// Tokens beside the model's vocabulary: special tokens and those that a user added.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "readback/text/tokenizer_files.h"

namespace readback::text {

class AddedTokens {
 public:
  using Normalize = std::function<std::u32string(std::u32string_view)>;

  // Tokens of the vocabulary keep its ids, others get the next free ones.
  AddedTokens(const std::vector<AddedToken>& tokens, const VocabularyMap& vocabulary, const Normalize& normalize,
              bool split_special_tokens);

  // A stretch of normalised text, or (id ≥ 0) an added token.
  struct Piece {
    std::u32string text;
    int64_t id = -1;
  };
  std::vector<Piece> split(std::u32string_view text, const Normalize& normalize) const;

  const VocabularyMap& ids() const { return ids_; }
  // What decoding writes for an id: nullptr for one that is not added.
  const std::string* decoded(int64_t id) const;
  bool is_special(std::string_view content) const { return special_.contains(std::string(content)); }

 private:
  struct Pattern {
    std::u32string text;
    int64_t id = 0;
  };
  using Patterns = std::unordered_map<char32_t, std::vector<Pattern>>;  // by first character, longest first

  void add_pattern(Patterns& patterns, std::u32string text, int64_t id);
  void find(std::u32string_view text, const Patterns& patterns, std::vector<Piece>& pieces) const;

  std::unordered_map<int64_t, AddedToken> tokens_;
  std::unordered_map<int64_t, std::string> normalized_;  // where it differs from the content
  std::unordered_set<std::string> special_;
  VocabularyMap ids_;
  Patterns raw_, normal_;
  bool split_special_tokens_;
};

}  // namespace readback::text
