#include "readback/score/judged_pairs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/lines.h"
#include "readback/base/random.h"

namespace readback::score {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

std::vector<std::string> texts(const json& record, const char* key, const std::string& where) {
  const auto found = record.find(key);
  const bool good = found != record.end() && found->is_array() && !found->empty() &&
                    std::ranges::all_of(*found, [](const json& text) { return text.is_string(); });
  if (!good) throw DataError(describe(where, fmt::format("{}: a list of texts", key), record.dump().substr(0, 80)));
  return found->get<std::vector<std::string>>();
}

JudgedPair pair_of(const json& record, const std::string& where) {
  if (!record.is_object()) throw DataError(describe(where, "an object", record.dump().substr(0, 80)));
  JudgedPair pair;
  for (const auto& [key, text] : {std::pair("image", &pair.image), std::pair("category", &pair.category)}) {
    const auto found = record.find(key);
    if (found == record.end() || !found->is_string()) {
      throw DataError(describe(where, fmt::format("{}: a text", key), record.dump().substr(0, 80)));
    }
    *text = found->get<std::string>();
  }
  const std::vector<std::string> captions = texts(record, "captions", where);
  const json votes = record.value("votes", json());
  const auto is_count = [](const json& count) { return count.is_number_unsigned(); };
  if (captions.size() != 2 || !votes.is_array() || votes.size() != 2 || !std::ranges::all_of(votes, is_count)) {
    throw DataError(describe(where, "two captions and two numbers of votes", record.dump().substr(0, 80)));
  }
  for (size_t i = 0; i < 2; ++i) {
    pair.captions[i] = captions[i];
    pair.votes[i] = votes[i].get<int64_t>();
  }
  pair.references = texts(record, "references", where);
  return pair;
}

// 1 where `first` is preferred, 0 where `second` is, ½ where neither is.
template <typename Value>
double preference(Value first, Value second) {
  return first > second ? 1 : first < second ? 0 : 0.5;
}

// How often two preferences are the same, where those that are open are decided by chance.
double agreement_of(double own, double people) { return own * people + (1 - own) * (1 - people); }

}  // namespace

std::vector<JudgedPair> read_judged_pairs(const fs::path& path) {
  const std::string text = read_text(path);
  std::vector<JudgedPair> pairs;
  int64_t number = 0;
  for (const std::string_view line : lines_of(text)) {
    ++number;
    if (is_blank(line)) continue;
    const std::string where = fmt::format("{}, line {}", path.string(), number);
    json record = json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (record.is_discarded()) throw DataError(describe(where, "a JSON object", std::string(line.substr(0, 80))));
    pairs.push_back(pair_of(record, where));
  }
  if (pairs.empty()) throw DataError(describe(path.string(), "at least one pair of captions", "none"));
  return pairs;
}

data::MatchedCaptions captions_of_pairs(std::span<const JudgedPair> pairs, int64_t references, uint64_t seed) {
  data::MatchedCaptions result;
  for (size_t i = 0; i < pairs.size(); ++i) {
    std::vector<std::string> drawn = pairs[i].references;
    if (references > 0 && std::ssize(drawn) > references) {
      Random random(seed, Purpose::kChoice, "references", i);
      for (int64_t k = 0; k < references; ++k) {  // the first steps of a shuffle
        const auto other = k + static_cast<int64_t>(random.below(static_cast<uint64_t>(std::ssize(drawn) - k)));
        std::swap(drawn[static_cast<size_t>(k)], drawn[static_cast<size_t>(other)]);
      }
      drawn.resize(static_cast<size_t>(references));
    }
    for (size_t side = 0; side < 2; ++side) {
      result.ids.push_back(fmt::format("{} {}", i, side == 0 ? "A" : "B"));
      result.candidates.push_back(pairs[i].captions[side]);
      result.references.push_back(drawn);
    }
  }
  return result;
}

PairAccuracy pair_accuracy(std::span<const std::vector<double>> values, std::span<const JudgedPair> pairs,
                           const BootstrapOptions& options) {
  for (const std::vector<double>& draw : values) {
    if (draw.size() == 2 * pairs.size()) continue;
    throw DataError(describe("agreement of pairs", fmt::format("{} values, two a pair", 2 * pairs.size()),
                             std::to_string(draw.size())));
  }
  PairAccuracy result;
  std::vector<std::string> names;
  std::map<std::string, std::vector<double>> of_category;
  std::vector<double> all;
  for (size_t i = 0; i < pairs.size(); ++i) {
    const double people = preference(pairs[i].votes[0], pairs[i].votes[1]);
    double sum = 0;
    for (const std::vector<double>& draw : values) {
      const double first = draw[2 * i], second = draw[2 * i + 1];
      sum += std::isnan(first) || std::isnan(second) ? kNone : agreement_of(preference(first, second), people);
    }
    if (std::ranges::find(names, pairs[i].category) == names.end()) names.push_back(pairs[i].category);
    if (std::isnan(sum)) {
      ++result.undefined;
      continue;
    }
    all.push_back(sum / static_cast<double>(values.size()));
    of_category[pairs[i].category].push_back(all.back());
  }
  for (const std::string& name : names)
    result.categories.emplace_back(name, bootstrap_mean(of_category[name], options));
  result.all = bootstrap_mean(all, options);
  return result;
}

}  // namespace readback::score
