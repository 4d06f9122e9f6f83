#include "readback/data/oracle.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>
#include <string>

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

std::optional<RelationWord> find_relation(const std::string& word) {
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

// The value that all agree on.
template <typename T>
T agreed(const std::vector<T>& values, T otherwise) {
  const bool agree =
      !values.empty() && std::all_of(values.begin(), values.end(), [&](const T& v) { return v == values[0]; });
  return agree ? values[0] : otherwise;
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
  return agreed(beside.empty() ? anywhere : beside, -1);
}

bool is_pair(const Reading& reading) { return reading.objects.size() == 2 && reading.relation != Relation::kNone; }

}  // namespace

Reading parse_caption(std::string_view text) {
  const std::vector<std::string> words = split_words(text);
  Reading reading;
  reading.background = find_background(words);
  for (size_t i = 0; i < words.size(); ++i) {
    if (const auto object = find(object_names(), words[i])) {
      reading.objects.push_back({*object, 1.0, {}});
    }
  }
  if (reading.objects.size() != 2) return reading;

  // "A left of B"; with both objects on one side of the word the first named is meant: "left, an A and a B".
  std::vector<std::pair<Relation, bool>> named;
  for (const std::string& word : words) {
    if (const auto relation = find_relation(word)) named.emplace_back(relation->relation, relation->inverse);
  }
  const auto [relation, inverse] = agreed(named, {Relation::kNone, false});
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
