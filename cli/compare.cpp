#include "readback/roundtrip/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "common.h"
#include "flags.h"
#include "readback/base/error.h"
#include "readback/base/numbers.h"
#include "score_table.h"

namespace readback::cli {

namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;
using roundtrip::DisagreeingSide;
using roundtrip::Disagreement;
using roundtrip::RunComparison;

struct CompareFlags {
  std::vector<std::string> runs;
  std::string baseline, disagree, format = "text";
  int64_t top = 10;
  roundtrip::CompareOptions options;
};

// Where two runs disagree most.
struct Pair {
  size_t other = 0;  // run
  std::vector<Disagreement> rows;
};

// The baseline's place among the runs, to which it is added where it is not among them.
size_t place_baseline(std::vector<std::string>& runs, const std::string& baseline) {
  if (baseline.empty()) return 0;
  const auto same = [&](const std::string& run) {
    std::error_code unknown;
    return run == baseline || fs::equivalent(run, baseline, unknown);
  };
  const auto found = std::ranges::find_if(runs, same);
  if (found == runs.end()) return static_cast<size_t>(runs.insert(runs.begin(), baseline) - runs.begin());
  return static_cast<size_t>(found - runs.begin());
}

std::string metric_title(const score::MetricInfo& metric) {
  const bool higher = metric.direction == score::Direction::kHigherIsBetter;
  return fmt::format("{} ({}, {} is better)", metric.title, metric.name, higher ? "higher" : "lower");
}

std::string path_of(const std::string& run, const std::string& picture) {
  return picture.empty() ? "no picture" : (fs::path(run) / picture).string();
}

void print_side(const std::string& run, const DisagreeingSide& side) {
  fmt::print("     {:8.4f}  \"{}\"  {}\n", side.value, side.text, path_of(run, side.image));
}

void print_runs(const RunComparison& comparison) {
  for (size_t i = 0; i < comparison.runs.size(); ++i) {
    const roundtrip::ComparedRun& run = comparison.runs[i];
    fmt::print("{}  {}: {}, {} candidates{}\n", i + 1, run.folder, counted(run.samples), run.candidates,
               i == comparison.baseline ? "; the baseline" : "");
    if (run.alone > 0) fmt::print("   {} of its samples are not in all runs\n", with_commas(run.alone));
  }
  fmt::print("{} samples are in all runs\n", with_commas(comparison.samples));
  if (comparison.other_texts > 0) {
    fmt::print("{} ids are left out: the runs have other references for them\n", with_commas(comparison.other_texts));
  }
  size_t width = 0;
  for (const auto& difference : comparison.differences) width = std::max(width, difference.name.size());
  fmt::print("\n{}\n", comparison.differences.empty() ? "The runs had the same options" : "The runs differ in");
  for (const auto& difference : comparison.differences) {
    fmt::print("  {:<{}}  {}", difference.name, width, difference.values[comparison.baseline]);
    for (size_t i = 0; i < difference.values.size(); ++i) {
      if (i != comparison.baseline) fmt::print(" against {}", difference.values[i]);
    }
    fmt::print("\n");
  }
}

void print_text(const RunComparison& comparison, const std::vector<Pair>& pairs, const CompareFlags& flags) {
  print_runs(comparison);
  for (const roundtrip::ComparedMetric& row : comparison.metrics) {
    fmt::print("\n{}  {}{}, {}\n", name(row.direction), metric_title(row.metric),
               row.domain.empty() ? "" : ", " + row.domain, counted(row.values.front().count));
    for (size_t i = 0; i < row.values.size(); ++i) {
      const std::string test = row.tests[i] ? test_text(*row.tests[i]) : "";
      fmt::print("{:>3}  {:>8.4f}  {:<{}}{}\n", i + 1, row.values[i].mean, interval_text(row.values[i]),
                 test.empty() ? 0 : 22, test);
    }
  }
  const std::string& baseline = comparison.runs[comparison.baseline].folder;
  for (const Pair& pair : pairs) {
    const std::string& other = comparison.runs[pair.other].folder;
    fmt::print("\nWhere {} and {} disagree most by {}\n", baseline, other, flags.disagree);
    for (const Disagreement& row : pair.rows) {
      fmt::print("{}  {}{}  {:+.4f}\n", name(row.direction), row.sample, row.domain.empty() ? "" : ", " + row.domain,
                 row.difference);
      const bool picture = row.direction == roundtrip::Direction::kI2T2I;
      fmt::print("     {}\n", picture ? path_of(baseline, row.original) : "\"" + row.prompt + "\"");
      print_side(baseline, row.baseline);
      print_side(other, row.other);
    }
  }
}

// What is no JSON, as "absent", is a text.
ordered_json parsed(const std::string& value) {
  ordered_json json = ordered_json::parse(value, nullptr, /*allow_exceptions=*/false);
  return json.is_discarded() ? ordered_json(value) : json;
}

ordered_json told(const DisagreeingSide& side) {
  return {{"value", number(side.value)}, {"candidate", side.candidate}, {"text", side.text}, {"image", side.image}};
}

void print_json(const RunComparison& comparison, const std::vector<Pair>& pairs, const CompareFlags& flags) {
  ordered_json runs = ordered_json::array(), differences = runs, metrics = runs, disagreements = runs;
  for (const roundtrip::ComparedRun& run : comparison.runs) {
    runs.push_back(
        {{"run", run.folder}, {"samples", run.samples}, {"candidates", run.candidates}, {"alone", run.alone}});
  }
  for (const auto& difference : comparison.differences) {
    ordered_json values = ordered_json::array();
    for (const std::string& value : difference.values) values.push_back(parsed(value));
    differences.push_back({{"option", difference.name}, {"values", values}});
  }
  for (const roundtrip::ComparedMetric& row : comparison.metrics) {
    ordered_json values = ordered_json::array();
    for (size_t i = 0; i < row.values.size(); ++i) {
      values.push_back(to_json(row.values[i]));
      if (row.tests[i]) add_test(values.back(), *row.tests[i]);
    }
    metrics.push_back({{"direction", name(row.direction)},
                       {"metric", row.metric.name},
                       {"title", row.metric.title},
                       {"role", row.role == roundtrip::Role::kDistance ? "distance" : "quality"},
                       {"better", row.metric.direction == score::Direction::kHigherIsBetter ? "higher" : "lower"},
                       {"domain", row.domain.empty() ? ordered_json(nullptr) : ordered_json(row.domain)},
                       {"formula", row.metric.formula},
                       {"checkpoint", row.metric.checkpoint},
                       {"runs", values}});
  }
  for (const Pair& pair : pairs) {
    for (const Disagreement& row : pair.rows) {
      disagreements.push_back({{"direction", name(row.direction)},
                               {"sample", row.sample},
                               {"domain", row.domain.empty() ? ordered_json(nullptr) : ordered_json(row.domain)},
                               {"text", row.prompt},
                               {"original", row.original},
                               {"run", comparison.runs[pair.other].folder},
                               {"difference", number(row.difference)},
                               {"baseline", told(row.baseline)},
                               {"other", told(row.other)}});
    }
  }
  ordered_json left_out = ordered_json::object();
  for (const auto& [metric, why] : comparison.left_out) left_out[metric] = why;
  ordered_json json = {{"runs", runs},
                       {"baseline", comparison.runs[comparison.baseline].folder},
                       {"samples", comparison.samples},
                       {"other_references", comparison.other_texts},
                       {"differences", differences},
                       {"candidate", name_of(flags.options.candidate)},
                       {"metrics", metrics},
                       {"left_out", left_out},
                       {"notes", comparison.notes}};
  if (!flags.disagree.empty()) json["disagreements"] = disagreements;
  fmt::print("{}\n", json.dump(2, ' ', false, ordered_json::error_handler_t::replace));
}

void compare_runs(CompareFlags flags) {
  const size_t baseline = place_baseline(flags.runs, flags.baseline);
  std::vector<roundtrip::Store> runs;
  for (const std::string& folder : flags.runs) runs.push_back(roundtrip::Store::open(folder));
  const RunComparison comparison = roundtrip::compare(runs, baseline, flags.options);
  std::vector<Pair> pairs;
  for (size_t i = 0; i < runs.size() && !flags.disagree.empty(); ++i) {
    if (i == baseline) continue;
    Pair pair{i, {}};
    for (const roundtrip::Direction direction : runs[baseline].directions()) {
      const auto rows =
          roundtrip::disagreements(runs[baseline], runs[i], direction, flags.disagree, flags.top, flags.options);
      pair.rows.insert(pair.rows.end(), rows.begin(), rows.end());
    }
    pairs.push_back(std::move(pair));
  }
  for (const auto& [metric, why] : comparison.left_out) fmt::print(stderr, "{} is left out: {}\n", metric, why);
  for (const std::string& note : comparison.notes) fmt::print(stderr, "{}\n", note);
  flags.format == "json" ? print_json(comparison, pairs, flags) : print_text(comparison, pairs, flags);
}

}  // namespace

void add_compare(CLI::App& app) {
  auto flags = std::make_shared<CompareFlags>();
  CLI::App* verb =
      app.add_subcommand("compare", "Runs over the same samples: paired differences, and whether by chance");
  verb->footer(
      "Examples:\n"
      "  readback compare runs/before runs/after\n"
      "  readback compare runs/a runs/b runs/c --baseline runs/b --metrics clip-image,cider --format json\n"
      "  readback compare runs/nocaps-blip runs/nocaps-blip2 --by-domain\n"
      "  readback compare runs/ten runs/four --candidate best --by clip-image --candidates 4\n"
      "  readback compare runs/before runs/after --disagree clip-image --top 20\n"
      "Differences are a run's mean minus the baseline's over the samples that all runs have, with 95 % bootstrap\n"
      "intervals by pairs, a paired permutation test, and Holm's correction over all tests of the table.");
  verb->add_option("RUN", flags->runs, "Folders of runs; the first is the baseline")->required();
  verb->add_option("--baseline", flags->baseline, "The run that the others are compared with; default: the first");
  add_options(*verb, flags->options);
  verb->add_option("--disagree", flags->disagree, "Metric by which to list the samples where runs disagree most");
  verb->add_option("--top", flags->top, "How many of them, in each direction")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  verb->add_option("--format", flags->format, "text or json")
      ->capture_default_str()
      ->check(CLI::IsMember({"text", "json"}));
  verb->callback([flags] { compare_runs(*flags); });
}

}  // namespace readback::cli
