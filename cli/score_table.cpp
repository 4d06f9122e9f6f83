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

void print_text(const ScoreTable& table) {
  size_t width = 0;
  for (const ScoreLine& line : table.lines) width = std::max(width, line.title.size());
  fmt::print("{}\n", table.what);
  for (const ScoreLine& line : table.lines) {
    fmt::print("{:<{}}  {:>8.4f}  {:<18}", line.title, width, line.value.mean, interval_text(line.value));
    if (line.floor) fmt::print("  random pairs {:.4f}", line.floor->mean);
    if (line.comparison) fmt::print("  {}", test_text(line.comparison->test));
    fmt::print("\n");
    for (const auto& [domain, value] : line.domains) {
      fmt::print("{:<{}}  {:>8.4f}  {:<18}  {}, {}\n", "", width, value.mean, interval_text(value), domain,
                 counted(value.count));
    }
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
      entry["baseline"] = {{"value", number(line.comparison->baseline)}};
      add_test(entry["baseline"], line.comparison->test);
    }
    for (const auto& [domain, value] : line.domains) entry["domains"][domain] = to_json(value);
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

ordered_json number(double value) { return std::isfinite(value) ? ordered_json(value) : ordered_json(nullptr); }

void add_test(ordered_json& object, const score::PairedTest& test) {
  object["difference"] = to_json(test.difference);
  object["p"] = number(test.p);
  object["p_holm"] = number(test.p_holm);
}

std::string counted(int64_t samples) { return with_commas(samples) + (samples == 1 ? " sample" : " samples"); }

std::string interval_text(const score::Interval& interval) {
  if (std::isnan(interval.low)) return "";
  return fmt::format("[{:.4f}, {:.4f}]", interval.low, interval.high);
}

std::string test_text(const score::PairedTest& test) {
  return fmt::format("{:+.4f} {} to the baseline, p = {:.2g}, Holm {:.2g}", test.difference.mean,
                     interval_text(test.difference), test.p, test.p_holm);
}

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
