#include "readback/score/text/meteor/build.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <deque>
#include <numeric>
#include <set>
#include <unordered_map>
#include <vector>

#include "readback/base/error.h"
#include "readback/score/text/meteor/table_format.h"

namespace readback::score {

using namespace meteor_format;

namespace {

constexpr std::string_view kBlanks = " \t\r\f";

// The lines of one source.
class Lines {
 public:
  Lines(std::string name, std::string_view text) : name_(std::move(name)), text_(text) {}

  bool next(std::string_view& line) {
    if (text_.empty()) return false;
    const size_t end = std::min(text_.find('\n'), text_.size());
    line = text_.substr(0, end);
    text_.remove_prefix(std::min(end + 1, text_.size()));
    ++number_;
    return true;
  }

  std::string_view following() {
    std::string_view line;
    if (!next(line)) fail("another line", "the end");
    return line;
  }

  [[noreturn]] void fail(const std::string& expected, const std::string& got) const {
    throw DataError(describe(fmt::format("METEOR's {}, line {}", name_, number_), expected, got));
  }

 private:
  std::string name_;
  std::string_view text_;
  size_t number_ = 0;
};

template <class Function>
void for_each_word(std::string_view line, Function function) {
  for (size_t begin = line.find_first_not_of(kBlanks); begin != std::string_view::npos;) {
    const size_t end = std::min(line.find_first_of(kBlanks, begin), line.size());
    function(line.substr(begin, end - begin));
    begin = line.find_first_not_of(kBlanks, end);
  }
}

using Ids = std::set<uint32_t>;

Ids parse_ids(const Lines& lines, std::string_view line) {
  Ids ids;
  for_each_word(line, [&](std::string_view word) {
    uint32_t id = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (error != std::errc() || end != word.data() + word.size()) lines.fail("synset numbers", std::string(word));
    ids.insert(id);
  });
  return ids;
}

// Words in the order of their first use. Texts point into the sources.
class Vocabulary {
 public:
  uint32_t number(std::string_view text) {
    const auto [entry, is_new] = numbers_.try_emplace(text, static_cast<uint32_t>(texts_.size()));
    if (is_new) texts_.push_back(text);
    return entry->second;
  }
  size_t size() const { return texts_.size(); }
  const std::vector<std::string_view>& texts() const { return texts_; }

 private:
  std::unordered_map<std::string_view, uint32_t> numbers_;
  std::vector<std::string_view> texts_;
};

// Phrases in the order of their first use; node 0 is the empty one.
struct Trie {
  struct Node {
    uint32_t parent, word;
  };
  std::vector<Node> nodes{{0, 0}};
  std::unordered_map<uint64_t, uint32_t> children;

  uint32_t child(uint32_t node, uint32_t word) {
    const uint64_t key = static_cast<uint64_t>(node) << 32 | word;
    const auto [entry, is_new] = children.try_emplace(key, static_cast<uint32_t>(nodes.size()));
    if (is_new) nodes.push_back({node, word});
    return entry->second;
  }
};

class Builder {
 public:
  void add_function_words(std::string_view text) {
    Lines lines("function words", text);
    for (std::string_view line; lines.next(line);) flag(line, kFunctionWord);
  }

  void add_prefixes(std::string_view text) {
    Lines lines("prefixes", text);
    for (std::string_view line; lines.next(line);) {
      std::vector<std::string_view> words;
      for_each_word(line, [&](std::string_view word) { words.push_back(word); });
      if (words.empty() || words[0].starts_with('#')) continue;
      flag(words[0], words.size() > 1 && words[1] == "#NUMERIC_ONLY#" ? kNumericPrefix : kPrefix);
    }
  }

  void add_synonyms(std::string_view synsets, std::string_view exceptions) {
    std::unordered_map<std::string_view, Ids> known;
    Lines lines("synsets", synsets);
    for (std::string_view word; lines.next(word);) {
      Ids ids = parse_ids(lines, lines.following());
      if (word.find('_') == std::string_view::npos) synsets_[vocabulary_.number(word)] = ids;
      known[word] = std::move(ids);
    }
    Lines forms("exceptions", exceptions);
    for (std::string_view base; forms.next(base);) {
      for_each_word(forms.following(), [&](std::string_view form) {
        if (form.find('_') != std::string_view::npos) return;
        flag(form, kIrregularForm);
        if (const auto found = known.find(base); found != known.end()) {
          irregulars_[vocabulary_.number(form)].insert(found->second.begin(), found->second.end());
        }
      });
    }
  }

  void add_paraphrases(std::string_view text) {
    Lines lines("paraphrases", text);
    for (std::string_view probability; lines.next(probability);) {
      const uint32_t phrase = add_phrase(lines, lines.following());
      pairs_.push_back({phrase, add_phrase(lines, lines.following())});
    }
  }

  std::string finish() {
    number_nodes();
    std::vector<uint32_t> text_ends{0};
    std::string text;
    for (const std::string_view word : vocabulary_.texts()) {
      text += word;
      text_ends.push_back(static_cast<uint32_t>(text.size()));
    }
    flags_.resize(vocabulary_.size());
    write(kText, text);
    write(kTextEnds, text_ends);
    write(kSlots, hash_slots());
    write(kFlags, flags_);
    write_lists(kSynsetEnds, kSynsets, synsets_);
    write_lists(kIrregularEnds, kIrregulars, irregulars_);
    header_.magic = kMagic;
    header_.version = kVersion;
    header_.file_size = sizeof header_ + body_.size();
    return std::string(reinterpret_cast<const char*>(&header_), sizeof header_) + body_;
  }

 private:
  void flag(std::string_view text, Flag flag) {
    const uint32_t word = vocabulary_.number(text);
    flags_.resize(vocabulary_.size());
    flags_[word] |= flag;
  }

  uint32_t add_phrase(const Lines& lines, std::string_view line) {
    uint32_t node = 0;
    for_each_word(line, [&](std::string_view word) { node = trie_.child(node, vocabulary_.number(word)); });
    if (node == 0) lines.fail("a phrase", "no words");
    return node;
  }

  std::vector<uint32_t> hash_slots() const {
    std::vector<uint32_t> slots(std::bit_ceil(2 * vocabulary_.size() + 1));
    for (uint32_t word = 0; word < vocabulary_.size(); ++word) {
      size_t slot = hash_word(vocabulary_.texts()[word]) & (slots.size() - 1);
      while (slots[slot] != 0) slot = (slot + 1) & (slots.size() - 1);
      slots[slot] = word + 1;
    }
    return slots;
  }

  // Breadth first, so that siblings lie together, sorted by word.
  void number_nodes() {
    const size_t count = trie_.nodes.size();
    std::vector<uint32_t> order(count - 1);  // all but the root, by parent, then word
    std::iota(order.begin(), order.end(), 1u);
    std::sort(order.begin(), order.end(), [this](uint32_t a, uint32_t b) {
      const Trie::Node &x = trie_.nodes[a], &y = trie_.nodes[b];
      return x.parent != y.parent ? x.parent < y.parent : x.word < y.word;
    });
    std::vector<uint32_t> first(count + 1);  // in `order`
    for (const uint32_t node : order) ++first[trie_.nodes[node].parent + 1];
    std::partial_sum(first.begin(), first.end(), first.begin());

    std::vector<uint32_t> old_of{0}, new_of(count), words{0}, child_ends{1};
    old_of.reserve(count);
    for (size_t node = 0; node < old_of.size(); ++node) {
      const uint32_t old = old_of[node];
      for (uint32_t i = first[old]; i < first[old + 1]; ++i) {
        new_of[order[i]] = static_cast<uint32_t>(old_of.size());
        words.push_back(trie_.nodes[order[i]].word);
        old_of.push_back(order[i]);
      }
      child_ends.push_back(static_cast<uint32_t>(old_of.size()));
    }
    write(kNodeWords, words);
    write(kChildEnds, child_ends);

    std::vector<uint32_t> ends(count + 1);
    for (const auto& [phrase, meaning] : pairs_) ++ends[new_of[phrase] + 1];
    std::partial_sum(ends.begin(), ends.end(), ends.begin());
    write(kParaphraseEnds, ends);
    std::vector<uint32_t> meanings(pairs_.size());
    for (const auto& [phrase, meaning] : pairs_) meanings[ends[new_of[phrase]]++] = new_of[meaning];
    write(kParaphrases, meanings);
  }

  void write_lists(Section ends_id, Section values_id, const std::unordered_map<uint32_t, Ids>& lists) {
    std::vector<uint32_t> ends{0}, values;
    for (uint32_t word = 0; word < vocabulary_.size(); ++word) {
      if (const auto found = lists.find(word); found != lists.end()) {
        values.insert(values.end(), found->second.begin(), found->second.end());
      }
      ends.push_back(static_cast<uint32_t>(values.size()));
    }
    write(ends_id, ends);
    write(values_id, values);
  }

  template <class Items>
  void write(Section id, const Items& items) {
    body_.resize((body_.size() + 7) / 8 * 8);
    header_.sections[id] = {sizeof header_ + body_.size(), items.size()};
    body_.append(reinterpret_cast<const char*>(items.data()), items.size() * sizeof(items[0]));
  }

  Vocabulary vocabulary_;
  std::vector<uint8_t> flags_;
  std::unordered_map<uint32_t, Ids> synsets_, irregulars_;
  Trie trie_;
  struct Pair {
    uint32_t phrase, meaning;
  };
  std::vector<Pair> pairs_;
  Header header_{};
  std::string body_;
};

}  // namespace

std::string build_meteor_tables(const MeteorSources& sources) {
  Builder builder;
  builder.add_function_words(sources.function_words);
  builder.add_prefixes(sources.prefixes);
  builder.add_synonyms(sources.synsets, sources.exceptions);
  builder.add_paraphrases(sources.paraphrases);
  return builder.finish();
}

}  // namespace readback::score
