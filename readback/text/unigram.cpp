#include "readback/text/unigram.h"

#include <algorithm>
#include <limits>

#include "readback/text/vocabulary_map.h"

namespace readback::text {
namespace {

constexpr double kUnknownPenalty = 10;

uint64_t key(int64_t node, char byte) { return static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(byte); }

// The best way to reach a byte: its last piece and that piece's start; -1 while there is none.
struct Step {
  double score = 0;
  int64_t start = -1;
  int64_t id = 0;
};

}  // namespace

Unigram::Unigram(const std::vector<std::pair<std::string, double>>& pieces, int64_t unknown, bool byte_fallback)
    : nodes_(1), unknown_(unknown) {
  double lowest = std::numeric_limits<double>::infinity();
  children_.reserve(pieces.size() * 4);
  for (size_t id = 0; id < pieces.size(); ++id) {
    const auto& [piece, score] = pieces[id];
    lowest = std::min(lowest, score);
    int64_t node = 0;
    for (const char byte : piece) {
      const auto [entry, is_new] = children_.emplace(key(node, byte), static_cast<int64_t>(nodes_.size()));
      if (is_new) nodes_.emplace_back();
      node = entry->second;
    }
    nodes_[static_cast<size_t>(node)] = {static_cast<int64_t>(id), score};
  }
  unknown_score_ = lowest - kUnknownPenalty;
  if (byte_fallback) bytes_ = byte_tokens([this](const std::string& token) { return find(token); });
}

int64_t Unigram::child(int64_t node, char byte) const {
  const auto found = children_.find(key(node, byte));
  return found == children_.end() ? -1 : found->second;
}

int64_t Unigram::find(std::string_view piece) const {
  int64_t node = 0;
  for (size_t i = 0; i < piece.size() && node >= 0; ++i) node = child(node, piece[i]);
  return node < 0 ? -1 : nodes_[static_cast<size_t>(node)].id;
}

void Unigram::append(std::string_view stretch, std::vector<int64_t>& ids) const {
  const int64_t id = find(stretch);
  const auto spelled = [&](char byte) { return bytes_[static_cast<uint8_t>(byte)] >= 0; };
  if (id < 0 && !bytes_.empty() && std::all_of(stretch.begin(), stretch.end(), spelled)) {
    for (const char byte : stretch) ids.push_back(bytes_[static_cast<uint8_t>(byte)]);
  } else {
    ids.push_back(id < 0 ? unknown_ : id);
  }
}

void Unigram::encode(std::string_view text, std::vector<int64_t>& ids) const {
  const auto size = static_cast<int64_t>(text.size());
  std::vector<Step> best(text.size() + 1);
  const auto at = [&](int64_t position) -> Step& { return best[static_cast<size_t>(position)]; };
  const auto propose = [&](int64_t start, int64_t end, double score, int64_t id) {
    if (at(end).start < 0 || score > at(end).score) at(end) = {score, start, id};
  };
  for (int64_t start = 0; start < size;) {
    const double score = at(start).score;
    int64_t next = start + 1;
    while (next < size && (text[static_cast<size_t>(next)] & 0xC0) == 0x80) ++next;
    bool has_character = false;
    int64_t node = 0;
    for (int64_t end = start; end < size && (node = child(node, text[static_cast<size_t>(end)])) >= 0;) {
      const Node& found = nodes_[static_cast<size_t>(node)];
      ++end;
      if (found.id < 0) continue;
      propose(start, end, found.score + score, found.id);
      has_character |= end == next;
    }
    if (!has_character) propose(start, next, unknown_score_ + score, unknown_);
    start = next;
  }

  std::vector<std::string_view> stretches;  // the last one first
  bool in_unknown = false;
  for (int64_t end = size; end > 0;) {
    const Step& step = at(end);
    const auto length = static_cast<size_t>(end - step.start);
    const bool is_unknown = step.id == unknown_;
    if (is_unknown && in_unknown) {
      stretches.back() = text.substr(static_cast<size_t>(step.start), stretches.back().size() + length);
    } else {
      stretches.push_back(text.substr(static_cast<size_t>(step.start), length));
    }
    in_unknown = is_unknown;
    end = step.start;
  }
  for (auto stretch = stretches.rbegin(); stretch != stretches.rend(); ++stretch) append(*stretch, ids);
}

}  // namespace readback::text
