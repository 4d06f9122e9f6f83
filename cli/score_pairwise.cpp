#include "score_pairwise.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "flags.h"
#include "readback/base/error.h"

namespace readback::cli {

namespace {

std::vector<double> defined(const std::vector<double>& values) {
  std::vector<double> result;
  std::ranges::copy_if(values, std::back_inserter(result), [](double value) { return !std::isnan(value); });
  return result;
}

const ShortName& find(const std::vector<ShortName>& known, const std::string& name) {
  std::vector<std::string> names;
  for (const ShortName& entry : known) {
    if (entry.name == name) return entry;
    names.push_back(entry.name);
  }
  throw UsageError(describe("--metrics", fmt::format("some of {}", fmt::join(names, ", ")), "\"" + name + "\""));
}

}  // namespace

void ScoreFlags::add_to(CLI::App& verb, const std::string& names) {
  verb.add_option("--metrics", metrics, names + "; default: all whose checkpoints are given")->delimiter(',');
  verb.add_option("--per-sample", per_sample, "JSON Lines file for the scores of every sample");
  verb.add_flag("--allow-missing", allow_missing, "Leave out what only one side has");
  verb.add_option("--batch-size", batch_size, "Samples a model gets at once")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  verb.add_option("--seed", seed, "Of the random pairs")->capture_default_str();
  verb.add_option("--format", format, "text or json")->capture_default_str()->check(CLI::IsMember({"text", "json"}));
  machine.add_to(verb);
}

void ScoreFlags::add_checkpoints(CLI::App& verb, const std::set<std::string>& names) {
  add_options(verb, checkpoints,
              {.wanted = [&](const std::string& path, Scope) { return names.contains(path); },
               .group = [](const std::string&) { return "Checkpoints of metrics"; }});
}

ChosenMetrics choose_metrics(const std::vector<ShortName>& known, const std::vector<std::string>& names,
                             const score::MetricContext& context) {
  ChosenMetrics chosen;
  for (const std::string& name : names) {
    for (const ShortName::Line& line : find(known, name).lines) {
      if (std::ranges::find(chosen.titles, line.title) != chosen.titles.end()) continue;
      chosen.titles.push_back(line.title);
      chosen.metrics.push_back(score::make_metric(line.metric, context));
    }
  }
  return chosen;
}

std::vector<std::string> available(const std::vector<ShortName>& known, const std::set<std::string>& given) {
  std::vector<std::string> names;
  for (const ShortName& entry : known) {
    const bool ready = std::ranges::all_of(entry.lines, [&](const ShortName::Line& line) {
      const std::string& option = score::find_metric(line.metric).option;
      return option.empty() || given.contains(option);
    });
    if (ready && !entry.lines.empty()) names.push_back(entry.name);
  }
  return names;
}

void add_lines(const ChosenMetrics& chosen, const std::vector<score::PairScores>& scores, ScoreTable& table,
               std::vector<SampleColumn>& columns) {
  for (size_t m = 0; m < scores.size(); ++m) {
    const score::MetricInfo& info = chosen.metrics[m]->info();
    const std::vector<double> own = defined(scores[m].own), random = defined(scores[m].random);
    ScoreLine line;
    line.title = chosen.titles[m];
    line.formula = info.formula + (info.checkpoint.empty() ? "" : "; " + info.checkpoint);
    line.value = score::bootstrap_mean(own);
    if (!random.empty()) line.floor = score::bootstrap_mean(random);
    line.more = {{"variant", info.name},
                 {"better", info.direction == score::Direction::kLowerIsBetter ? "lower" : "higher"},
                 {"undefined", note_undefined(line.title, scores[m].own)}};
    if (!info.checkpoint.empty()) line.more["checkpoint"] = info.checkpoint;
    table.lines.push_back(std::move(line));
    columns.push_back({chosen.titles[m], &scores[m].own});
  }
}

void note_truncation(const score::MetricContext& context) {
  for (const auto& [name, model] : {std::pair("CLIP", context.clip), std::pair("SBERT", context.sbert)}) {
    if (!model.loaded()) continue;
    const int64_t tokens = model.get()->embedder().truncated();
    if (tokens > 0) fmt::print(stderr, "{} tokens of texts did not fit {} and were cut\n", with_commas(tokens), name);
  }
}

}  // namespace readback::cli
