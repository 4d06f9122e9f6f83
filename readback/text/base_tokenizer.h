// What the tokenizers share: added tokens, the table of ids, roles, special tokens around a text.
#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "readback/text/added_tokens.h"
#include "readback/text/tokenizer.h"
#include "readback/text/tokenizer_files.h"

namespace readback::text {

class BaseTokenizer : public Tokenizer {
 public:
  std::vector<int64_t> encode(std::string_view text) const final;
  std::vector<int64_t> encode_with_special_tokens(std::string_view text) const final;
  int64_t vocabulary_size() const final { return static_cast<int64_t>(tokens_.size()); }
  int64_t id(std::string_view token) const final;
  const std::string& token(int64_t id) const final;
  int64_t special_id(std::string_view role) const final;
  int64_t max_length() const final { return max_length_; }

 protected:
  BaseTokenizer(const TokenizerFiles& files, const AddedTokens::Normalize& normalize);

  virtual std::u32string normalize(std::u32string_view text) const = 0;
  // Ids of text that is normalised and has no added token in it. `at_start`: it begins the whole text.
  virtual void encode_piece(std::u32string_view text, bool at_start, std::vector<int64_t>& ids) const = 0;
  // The id of unk_token in the model's vocabulary. Errors: CheckpointError naming `folder` when there is none.
  int64_t required_unknown(const std::string& folder) const;

  // Tokens as decoding sees them, special ones and unknown ids left out.
  std::vector<std::string_view> visible_tokens(const std::vector<int64_t>& ids) const;

  VocabularyMap vocabulary_;
  std::vector<int64_t> before_, after_;  // ids around a text

 private:
  AddedTokens added_;
  std::vector<std::string> tokens_;
  std::map<std::string, std::string> special_tokens_;
  int64_t max_length_;
};

// "a , b" → "a, b", "do n't" → "don't", …: transformers' clean_up_tokenization. The WordPiece decoder's own clean-up
// has one rule more (" do not" → " don't").
std::string clean_up_spaces(std::string text, bool word_piece_decoder);

}  // namespace readback::text
