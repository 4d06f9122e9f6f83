#include "readback/text/byte_pairs.h"

#include <algorithm>
#include <functional>
#include <queue>

#include "readback/text/unicode.h"

namespace readback::text {
namespace {

struct Symbol {
  int64_t id;
  int64_t previous;
  int64_t next;  // -1 at the end
  bool merged = false;
};

struct Candidate {
  int64_t rank;
  int64_t position;
  int64_t id;
  bool operator>(const Candidate& other) const {
    return rank != other.rank ? rank > other.rank : position > other.position;
  }
};

}  // namespace

void BytePairs::add(int64_t left, int64_t right, int64_t id) { merges_[key(left, right)] = {next_rank_++, id}; }

std::vector<int64_t> BytePairs::apply(std::string_view word) const {
  std::vector<int64_t> ids(word.size());
  for (size_t i = 0; i < word.size(); ++i) {
    const auto byte = static_cast<uint8_t>(word[i]);
    ids[i] = i + 1 < word.size() ? inner[byte] : last[byte];
  }
  return merge(ids);
}

// The best-ranked pair first, of equals the leftmost: a heap of pairs, in which outdated ones are skipped.
std::vector<int64_t> BytePairs::merge(const std::vector<int64_t>& ids) const {
  std::vector<Symbol> symbols(ids.size());
  const auto size = static_cast<int64_t>(ids.size());
  const auto at = [&](int64_t position) -> Symbol& { return symbols[static_cast<size_t>(position)]; };
  for (int64_t i = 0; i < size; ++i) at(i) = {ids[static_cast<size_t>(i)], i - 1, i + 1 < size ? i + 1 : -1};
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto propose = [&](int64_t position) {
    if (position < 0 || at(position).next < 0) return;
    const auto found = merges_.find(key(at(position).id, at(at(position).next).id));
    if (found != merges_.end()) queue.push({found->second.rank, position, found->second.id});
  };
  for (int64_t i = 0; i < size; ++i) propose(i);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Symbol& left = at(best.position);
    if (left.merged || left.next < 0) continue;
    Symbol& right = at(left.next);
    const auto found = merges_.find(key(left.id, right.id));
    if (found == merges_.end() || found->second.id != best.id) continue;
    left.id = best.id;
    left.next = right.next;
    right.merged = true;
    if (left.next >= 0) at(left.next).previous = best.position;
    propose(left.previous);
    propose(best.position);
  }
  std::vector<int64_t> merged;
  for (const Symbol& symbol : symbols) {
    if (!symbol.merged) merged.push_back(symbol.id);
  }
  return merged;
}

// <\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+
size_t clip_word_size(std::u32string_view text) {
  for (const std::u32string_view fixed :
       {U"<|startoftext|>", U"<|endoftext|>", U"'s", U"'t", U"'re", U"'ve", U"'m", U"'ll", U"'d"}) {
    if (text.starts_with(fixed)) return fixed.size();
  }
  const auto run = [&](auto belongs) {
    return static_cast<size_t>(std::find_if_not(text.begin(), text.end(), belongs) - text.begin());
  };
  if (is_letter(text[0])) return run(is_letter);
  if (is_number(text[0])) return 1;
  return run([](char32_t c) { return !is_whitespace(c) && !is_letter(c) && !is_number(c); });
}

std::u32string clip_normalize(std::u32string_view text) {
  const std::u32string composed = to_nfc(std::u32string(text));
  std::u32string spaced;
  spaced.reserve(composed.size());
  for (const char32_t c : composed) {
    if (!is_whitespace(c)) {
      spaced.push_back(c);
    } else if (spaced.empty() || spaced.back() != ' ') {
      spaced.push_back(' ');
    }
  }
  return lower(spaced);
}

}  // namespace readback::text
