#include "readback/score/text/meteor/lexicon.h"

#include <algorithm>

#include "readback/score/text/meteor/normalizer.h"
#include "readback/score/text/meteor/stemmer.h"
#include "readback/text/unicode.h"

namespace readback::score {

namespace {

std::u16string to_utf16(const std::string& utf8) {
  std::u16string result;
  for (const char32_t c : text::decode_utf8(utf8)) {
    if (c < 0x10000) {
      result += static_cast<char16_t>(c);
    } else {
      result += static_cast<char16_t>(0xd7c0 + (c >> 10));
      result += static_cast<char16_t>(0xdc00 + (c & 0x3ff));
    }
  }
  return result;
}

int32_t java_hash(const std::u16string& word) {
  uint32_t hash = 0;
  for (const char16_t c : word) hash = 31 * hash + c;
  return static_cast<int32_t>(hash);
}

// WordNet's rules for the base forms of regular words (its `morphy`), for nouns, verbs and adjectives in this order.
struct Detachment {
  std::string_view suffix, ending;
};
constexpr Detachment kDetachments[] = {{"s", ""},      {"ses", "s"},   {"xes", "x"}, {"zes", "z"}, {"ches", "ch"},
                                       {"shes", "sh"}, {"men", "man"}, {"ies", "y"}, {"s", ""},    {"ies", "y"},
                                       {"es", "e"},    {"es", ""},     {"ed", "e"},  {"ed", ""},   {"ing", "e"},
                                       {"ing", ""},    {"er", ""},     {"est", ""},  {"er", "e"},  {"est", "e"}};

// The synsets of the first base form that WordNet knows.
std::span<const uint32_t> base_synsets(const MeteorTables& tables, const std::string& word, size_t characters) {
  if (word.ends_with("ss") || characters <= 2) return {};
  for (const auto& [suffix, ending] : kDetachments) {
    if (!word.ends_with(suffix)) continue;
    std::string base = word.substr(0, word.size() - suffix.size());
    const auto synsets = tables.synsets(tables.find(base += ending));
    if (!synsets.empty()) return synsets;
  }
  return {};
}

}  // namespace

const MeteorWord& MeteorLexicon::word(const std::string& text) {
  const auto found = words_.find(text);
  if (found != words_.end()) return found->second;
  MeteorWord entry;
  const std::u16string characters = to_utf16(text);
  entry.keys = {java_hash(characters), java_hash(stem_english(characters)), 0};
  entry.number = tables_->find(text);
  entry.phrase = tables_->child(0, entry.number);
  entry.is_function_word = tables_->has_flag(entry.number, meteor_format::kFunctionWord);
  const auto own = tables_->synsets(entry.number);
  const auto base = tables_->has_flag(entry.number, meteor_format::kIrregularForm)
                        ? tables_->irregular_synsets(entry.number)
                        : base_synsets(*tables_, text, characters.size());
  std::set_union(own.begin(), own.end(), base.begin(), base.end(), std::back_inserter(entry.synsets));
  for (const uint32_t synset : entry.synsets) entry.keys.synsets |= uint64_t{1} << (synset * 2654435761u >> 26);
  return words_.emplace(text, std::move(entry)).first->second;
}

MeteorSentence MeteorLexicon::analyse(std::string_view text) {
  MeteorSentence sentence;
  for (const std::string& each : meteor_words(text, *tables_)) {
    sentence.words.push_back(&word(each));
    sentence.keys.push_back(sentence.words.back()->keys);
  }
  const int size = static_cast<int>(sentence.words.size());
  for (int start = 0; start < size; ++start) {
    uint32_t node = sentence.words[start]->phrase;
    for (int length = 1; node != MeteorTables::kNone; ++length) {
      sentence.phrases.push_back({node, start, length, tables_->paraphrases(node)});
      sentence.phrase_bits |= uint64_t{1} << (node % 64);
      node = start + length < size ? tables_->child(node, sentence.words[start + length]->number) : MeteorTables::kNone;
    }
  }
  sentence.by_node = sentence.phrases;
  std::sort(sentence.by_node.begin(), sentence.by_node.end(), [](const MeteorPhrase& a, const MeteorPhrase& b) {
    return a.node != b.node ? a.node < b.node : a.start < b.start;
  });
  return sentence;
}

}  // namespace readback::score
