#include "score_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "common.h"
#include "readback/base/files.h"
#include "readback/data/caption_file.h"

namespace readback::cli {

using nlohmann::ordered_json;

namespace {

// JSON has no NaN.
ordered_json number(double value) { return std::isfinite(value) ? ordered_json(value) : ordered_json(nullptr); }

std::string interval(const score::Interval& value) {
  if (std::isnan(value.low)) return "";
  return fmt::format("[{:.4f}, {:.4f}]", value.low, value.high);
}

void print_text(const ScoreTable& table) {
  size_t width = 0;
  for (const ScoreLine& line : table.lines) width = std::max(width, line.title.size());
  fmt::print("{}\n", table.what);
  for (const ScoreLine& line : table.lines) {
    fmt::print("{:<{}}  {:>8.4f}  {:<18}", line.title, width, line.value.mean, interval(line.value));
    if (line.floor) fmt::print("  random pairs {:.4f}", line.floor->mean);
    if (line.comparison) {
      fmt::print("  {:+.4f} {} to the baseline, p = {:.2g}, Holm {:.2g}", line.comparison->difference.mean,
                 interval(line.comparison->difference), line.comparison->p, line.comparison->p_holm);
    }
    fmt::print("\n");
  }
  fmt::print("\n");
  for (const ScoreLine& line : table.lines) fmt::print("{:<{}}  {}\n", line.title, width, line.formula);
  for (const auto& [metric, reason] : table.absent) fmt::print(stderr, "{} is left out: {}\n", metric, reason);
}

void print_json(const ScoreTable& table) {
  ordered_json metrics = ordered_json::object(), absent = ordered_json::object();
  for (const ScoreLine& line : table.lines) {
    ordered_json& entry = metrics[line.title] = to_json(line.value);
    if (line.floor) entry["floor"] = to_json(*line.floor);
    if (line.comparison) {
      const BaselineComparison& comparison = *line.comparison;
      entry["baseline"] = {{"value", number(comparison.baseline)},
                           {"difference", to_json(comparison.difference)},
                           {"p", number(comparison.p)},
                           {"p_holm", number(comparison.p_holm)}};
    }
    entry["formula"] = line.formula;
    entry.update(line.more);
  }
  for (const auto& [metric, reason] : table.absent) absent[metric] = reason;
  constexpr size_t kShown = 5;
  const std::vector<std::string>& ids = table.left_out.ids;
  const std::vector<std::string> first(ids.begin(),
                                       ids.begin() + static_cast<std::ptrdiff_t>(std::min(kShown, ids.size())));
  const ordered_json left_out = {{"count", ids.size()}, {"of", table.left_out.of}, {"first", first}};
  fmt::print("{}\n", ordered_json{{"metrics", metrics}, {"absent", absent}, {"left_out", left_out}}.dump(2));
}

}  // namespace

ordered_json to_json(const score::Interval& interval) {
  return {{"value", number(interval.mean)},
          {"low", number(interval.low)},
          {"high", number(interval.high)},
          {"n", interval.count}};
}

void print_scores(const ScoreTable& table, const std::string& format) {
  if (const LeftOut& left_out = table.left_out; !left_out.ids.empty()) {
    fmt::print(stderr, "{} of {} ids are left out, since only one side has them: {}\n",
               with_commas(static_cast<int64_t>(left_out.ids.size())), with_commas(left_out.of),
               data::listed(left_out.ids));
  }
  format == "json" ? print_json(table) : print_text(table);
}

int64_t note_undefined(const std::string& title, std::span<const double> values, const char* what) {
  const int64_t undefined = std::ranges::count_if(values, [](double value) { return std::isnan(value); });
  if (undefined > 0) {
    fmt::print(stderr, "{} is undefined for {} of {} {}, which are left out\n", title, undefined, values.size(), what);
  }
  return undefined;
}

void write_samples(const std::string& path, const std::vector<std::string>& ids,
                   const std::vector<SampleColumn>& columns) {
  AtomicFile file(path);
  for (size_t i = 0; i < ids.size(); ++i) {
    ordered_json line = {{"id", ids[i]}};
    for (const SampleColumn& column : columns) line[column.title] = number((*column.values)[i]);
    file.append(line.dump() + "\n");
  }
  file.commit();
}

}  // namespace readback::cli
