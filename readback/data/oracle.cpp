#include "readback/data/oracle.h"

#include <algorithm>
#include <cctype>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>

namespace readback::data {

namespace {

std::vector<std::string> split_words(std::string_view text) {
  std::vector<std::string> words;
  bool inside = false;
  for (const char raw : text) {
    const auto byte = static_cast<unsigned char>(raw);
    const bool letter = std::isalpha(byte) != 0 || byte >= 0x80;
    if (letter && !inside) words.emplace_back();
    if (letter) words.back().push_back(static_cast<char>(byte < 0x80 ? std::tolower(byte) : byte));
    inside = letter;
  }
  return words;
}

std::optional<int> find(const std::vector<std::string>& names, const std::string& word) {
  const auto place = std::find(names.begin(), names.end(), word);
  if (place == names.end()) return std::nullopt;
  return static_cast<int>(place - names.begin());
}

struct RelationWord {
  Relation relation;
  bool inverse;
};

std::optional<RelationWord> relation_word(const std::string& word) {
  static const std::map<std::string, RelationWord> kWords = {
      {"left", {Relation::kLeftOf, false}},  {"right", {Relation::kLeftOf, true}},
      {"above", {Relation::kAbove, false}},  {"over", {Relation::kAbove, false}},
      {"atop", {Relation::kAbove, false}},   {"top", {Relation::kAbove, false}},
      {"below", {Relation::kAbove, true}},   {"under", {Relation::kAbove, true}},
      {"beneath", {Relation::kAbove, true}}, {"underneath", {Relation::kAbove, true}}};
  const auto place = kWords.find(word);
  if (place == kWords.end()) return std::nullopt;
  return place->second;
}

// "BLUE background" wins over a color that stands elsewhere.
int find_background(const std::vector<std::string>& words) {
  std::vector<int> beside, anywhere;
  for (size_t i = 0; i < words.size(); ++i) {
    const auto color = find(background_names(), words[i] == "grey" ? "gray" : words[i]);
    if (!color) continue;
    anywhere.push_back(*color);
    if (i + 1 < words.size() && words[i + 1] == "background") beside.push_back(*color);
  }
  const std::vector<int>& colors = beside.empty() ? anywhere : beside;
  const bool agree = std::adjacent_find(colors.begin(), colors.end(), std::not_equal_to<>()) == colors.end();
  return colors.empty() || !agree ? -1 : colors[0];
}

// What relation words say of two objects named at `first` and `second` (places in words). "A left of B" and
// "right of A is B" mean the same; so do "A on the left, B on the right" and "left an A, right a B".
std::pair<Relation, bool> find_relation(const std::vector<std::string>& words, size_t first, size_t second) {
  struct Mention {
    Relation relation;
    bool inverse;
    int zone;  // 0: before both objects, 1: between them, 2: after
  };
  std::vector<Mention> mentions;
  for (size_t i = 0; i < words.size(); ++i) {
    if (const auto word = relation_word(words[i])) {
      mentions.push_back({word->relation, word->inverse, (i > first) + (i > second)});
    }
  }
  if (mentions.empty()) return {Relation::kNone, false};
  const Mention& head = mentions.front();
  const auto as_head = [&](const Mention& m) { return m.relation == head.relation && m.inverse == head.inverse; };
  if (std::all_of(mentions.begin(), mentions.end(), as_head)) {
    return {head.relation, head.inverse != (mentions.back().zone == 0)};
  }
  const Mention& tail = mentions.back();
  if (mentions.size() == 2 && head.relation == tail.relation && head.zone != tail.zone) {
    return {head.relation, head.inverse};  // a word for each object
  }
  return {Relation::kNone, false};
}

bool is_pair(const Reading& reading) { return reading.objects.size() == 2 && reading.relation != Relation::kNone; }

}  // namespace

Reading parse_caption(std::string_view text) {
  const std::vector<std::string> words = split_words(text);
  Reading reading;
  reading.background = find_background(words);
  std::vector<size_t> places;  // of the objects, in words
  for (size_t i = 0; i < words.size(); ++i) {
    if (const auto object = find(object_names(), words[i])) {
      reading.objects.push_back({*object, 1.0, {}});
      places.push_back(i);
    }
  }
  if (reading.objects.size() != 2) return reading;

  const auto [relation, inverse] = find_relation(words, places[0], places[1]);
  reading.relation = relation;
  if (inverse) std::swap(reading.objects[0], reading.objects[1]);
  return reading;
}

Accuracy compare(const Scene& truth, const Reading& reading) {
  std::vector<int> wanted = {truth.first};
  if (!truth.single()) wanted.push_back(truth.second);
  const size_t wanted_count = wanted.size();
  size_t right = 0;
  for (const ReadObject& object : reading.objects) {
    const auto place = std::find(wanted.begin(), wanted.end(), object.object);
    if (place == wanted.end()) continue;
    wanted.erase(place);
    ++right;
  }
  Accuracy accuracy;
  accuracy.objects = wanted.empty() && reading.objects.size() == wanted_count;
  accuracy.background = reading.background == truth.background;
  accuracy.relation = truth.single()
                          ? reading.relation == Relation::kNone
                          : is_pair(reading) && reading.relation == truth.relation &&
                                (reading.objects[0].object == truth.first || reading.objects[1].object == truth.second);
  accuracy.all = accuracy.objects && accuracy.relation && accuracy.background;
  const size_t shared = right + accuracy.background + (!truth.single() && accuracy.relation);
  const size_t in_truth = wanted_count + 1 + !truth.single();
  const size_t in_reading = reading.objects.size() + (reading.background >= 0) + (reading.relation != Relation::kNone);
  accuracy.semantic = 2.0 * static_cast<double>(shared) / static_cast<double>(in_truth + in_reading);
  return accuracy;
}

}  // namespace readback::data
