#include "readback/text/added_tokens.h"

#include <algorithm>

#include "readback/text/unicode.h"

namespace readback::text {

AddedTokens::AddedTokens(const std::vector<AddedToken>& tokens, const VocabularyMap& vocabulary,
                         const Normalize& normalize, bool split_special_tokens)
    : split_special_tokens_(split_special_tokens) {
  auto next = static_cast<int64_t>(vocabulary.size());
  for (const AddedToken& token : tokens) {
    if (token.content.empty()) continue;
    int64_t id = find_id(ids_, token.content);
    if (id < 0) id = find_id(vocabulary, token.content);
    if (id < 0) id = next++;
    ids_[token.content] = id;
    tokens_[id] = token;
    if (token.special) special_.insert(token.content);
    if (!token.normalized) continue;
    std::string normalized = encode_utf8(normalize(decode_utf8(token.content)));
    if (normalized != token.content) normalized_[id] = std::move(normalized);
  }
  for (const auto& [id, token] : tokens_) {
    const std::string* normalized = token.normalized ? decoded(id) : nullptr;
    add_pattern(token.normalized ? normal_ : raw_, decode_utf8(normalized ? *normalized : token.content), id);
  }
}

void AddedTokens::add_pattern(Patterns& patterns, std::u32string text, int64_t id) {
  if (text.empty()) return;
  auto& list = patterns[text.front()];
  const auto longer = [](const Pattern& a, const Pattern& b) { return a.text.size() > b.text.size(); };
  Pattern pattern{std::move(text), id};
  list.insert(std::upper_bound(list.begin(), list.end(), pattern, longer), std::move(pattern));
}

const std::string* AddedTokens::decoded(int64_t id) const {
  if (const auto found = normalized_.find(id); found != normalized_.end()) return &found->second;
  const auto found = tokens_.find(id);
  return found == tokens_.end() ? nullptr : &found->second.content;
}

// Leftmost, then longest. `begin` is where the text not yet given away starts.
void AddedTokens::find(std::u32string_view text, const Patterns& patterns, std::vector<Piece>& pieces) const {
  size_t begin = 0;
  const auto give = [&](size_t end) {
    if (begin < end) pieces.push_back({std::u32string(text.substr(begin, end - begin))});
  };
  for (size_t i = 0; !patterns.empty() && i < text.size();) {
    const auto list = patterns.find(text[i]);
    const Pattern* match = nullptr;
    if (list != patterns.end()) {
      const auto starts = [&](const Pattern& p) { return text.substr(i, p.text.size()) == p.text; };
      const auto found = std::find_if(list->second.begin(), list->second.end(), starts);
      if (found != list->second.end()) match = &*found;
    }
    if (match == nullptr) {
      ++i;
      continue;
    }
    size_t first = i, last = i + match->text.size();
    i = last;
    const AddedToken& token = tokens_.at(match->id);
    if (split_special_tokens_ && special_.contains(token.content)) continue;
    if (token.single_word && ((first > 0 && is_word(text[first - 1])) || (last < text.size() && is_word(text[last])))) {
      continue;
    }
    while (token.lstrip && first > begin && is_whitespace(text[first - 1])) --first;
    while (token.rstrip && last < text.size() && is_whitespace(text[last])) ++last;
    give(std::max(first, begin));
    pieces.push_back({{}, match->id});
    begin = last;
  }
  give(text.size());
}

std::vector<AddedTokens::Piece> AddedTokens::split(std::u32string_view text, const Normalize& normalize) const {
  std::vector<Piece> raw, pieces;
  find(text, raw_, raw);
  for (Piece& piece : raw) {
    if (piece.id >= 0) {
      pieces.push_back(std::move(piece));
    } else {
      find(normalize(piece.text), normal_, pieces);
    }
  }
  return pieces;
}

}  // namespace readback::text
