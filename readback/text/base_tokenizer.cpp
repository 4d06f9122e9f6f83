#include "readback/text/base_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "readback/base/error.h"
#include "readback/text/unicode.h"

namespace readback::text {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  size_t at = text.find(from);
  if (at == std::string::npos) return;
  std::string result;
  size_t begin = 0;
  for (; at != std::string::npos; at = text.find(from, begin)) {
    result.append(text, begin, at - begin).append(to);
    begin = at + from.size();
  }
  text = result.append(text, begin);
}

}  // namespace

BaseTokenizer::BaseTokenizer(const TokenizerFiles& files, const AddedTokens::Normalize& normalize)
    : vocabulary_(files.vocabulary),
      added_(files.added_tokens, files.vocabulary, normalize, files.split_special_tokens),
      special_tokens_(files.special_tokens),
      max_length_(files.model_max_length.value_or(-1)) {
  int64_t size = 0;
  for (const VocabularyMap* map : {&files.vocabulary, &added_.ids()}) {
    for (const auto& [token, id] : *map) size = std::max(size, id + 1);
  }
  tokens_.resize(std::max(static_cast<size_t>(size), files.pieces.size()));
  for (size_t id = 0; id < files.pieces.size(); ++id)
    tokens_[id] = files.pieces[id].first;  // also one that is there twice
  for (const VocabularyMap* map : {&files.vocabulary, &added_.ids()}) {
    for (const auto& [token, id] : *map) tokens_[static_cast<size_t>(id)] = token;
  }
}

int64_t BaseTokenizer::required_unknown(const std::string& folder) const {
  const auto named = special_tokens_.find("unk_token");
  const int64_t id = named == special_tokens_.end() ? -1 : find_id(vocabulary_, named->second);
  if (id < 0) {
    throw CheckpointError(describe(folder, "a vocabulary with the unknown token",
                                   named == special_tokens_.end() ? "no unk_token" : "no " + named->second));
  }
  return id;
}

std::vector<int64_t> BaseTokenizer::encode(std::string_view text) const {
  std::vector<int64_t> ids;
  const auto normalizer = [this](std::u32string_view part) { return normalize(part); };
  bool at_start = true;
  for (const AddedTokens::Piece& piece : added_.split(decode_utf8(text), normalizer)) {
    if (piece.id >= 0) {
      ids.push_back(piece.id);
    } else {
      encode_piece(piece.text, at_start, ids);
    }
    at_start = false;
  }
  return ids;
}

std::vector<int64_t> BaseTokenizer::encode_with_special_tokens(std::string_view text) const {
  std::vector<int64_t> ids = encode(text);
  ids.insert(ids.begin(), before_.begin(), before_.end());
  ids.insert(ids.end(), after_.begin(), after_.end());
  return ids;
}

int64_t BaseTokenizer::id(std::string_view token) const {
  const int64_t added = find_id(added_.ids(), token);
  return added >= 0 ? added : find_id(vocabulary_, token);
}

const std::string& BaseTokenizer::token(int64_t id) const {
  if (id < 0 || id >= vocabulary_size()) {
    throw DataError(describe("token id", fmt::format("0 to {}", vocabulary_size() - 1), fmt::format("{}", id)));
  }
  return tokens_[static_cast<size_t>(id)];
}

int64_t BaseTokenizer::special_id(std::string_view role) const {
  const auto found = special_tokens_.find(std::string(role));
  return found == special_tokens_.end() ? -1 : id(found->second);
}

std::vector<std::string_view> BaseTokenizer::visible_tokens(const std::vector<int64_t>& ids) const {
  std::vector<std::string_view> result;
  result.reserve(ids.size());
  for (const int64_t id : ids) {
    if (id < 0 || id >= vocabulary_size()) continue;
    const std::string* added = added_.decoded(id);
    const std::string& token = added ? *added : tokens_[static_cast<size_t>(id)];
    if (!added_.is_special(token)) result.push_back(token);
  }
  return result;
}

std::string clean_up_spaces(std::string text, bool word_piece_decoder) {
  using Rule = std::pair<const char*, const char*>;
  static constexpr Rule kPunctuation[] = {{" .", "."},  {" ?", "?"},     {" !", "!"},  {" ,", ","},
                                          {" ' ", "'"}, {" n't", "n't"}, {" 'm", "'m"}};
  static constexpr Rule kVerbs[] = {{" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  if (text.find(' ') == std::string::npos) return text;
  for (const auto& [from, to] : kPunctuation) replace_all(text, from, to);
  if (word_piece_decoder) replace_all(text, " do not", " don't");
  for (const auto& [from, to] : kVerbs) replace_all(text, from, to);
  return text;
}

}  // namespace readback::text
