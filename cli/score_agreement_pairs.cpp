#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "common.h"
#include "readback/base/error.h"
#include "readback/base/numbers.h"
#include "readback/score/judged_pairs.h"
#include "score_agreement.h"
#include "score_table.h"

namespace readback::cli {

namespace {

using nlohmann::ordered_json;

struct PairLine {
  std::string title, formula;
  score::PairAccuracy accuracy;
};

void print_json(const std::vector<score::JudgedPair>& pairs, const std::vector<PairLine>& lines, const Absent& absent) {
  ordered_json metrics = ordered_json::object(), reasons = ordered_json::object();
  for (const PairLine& line : lines) {
    ordered_json& entry = metrics[line.title] = {{"accuracy", to_json(line.accuracy.all)}};
    for (const auto& [category, accuracy] : line.accuracy.categories) entry["categories"][category] = to_json(accuracy);
    entry["undefined"] = line.accuracy.undefined;
    entry["formula"] = line.formula;
  }
  for (const auto& [metric, reason] : absent) reasons[metric] = reason;
  fmt::print("{}\n", ordered_json{{"metrics", metrics}, {"absent", reasons}, {"pairs", pairs.size()}}.dump(2));
}

void print_text(const std::vector<score::JudgedPair>& pairs, const std::vector<PairLine>& lines,
                const AgreementFlags& flags) {
  const auto cell = [](const score::Interval& value) {
    return fmt::format("{:5.1f} [{:.1f}, {:.1f}]", 100 * value.mean, 100 * value.low, 100 * value.high);
  };
  fmt::print("{} pairs of captions; {} references each, {} draws of them\n",
             with_commas(static_cast<int64_t>(pairs.size())), flags.num_references, flags.draws);
  fmt::print("Pairs × 100 of which metric and most people prefer the same caption, with 95 % bootstrap intervals\n");
  size_t width = 10;
  for (const PairLine& line : lines) width = std::max(width, line.title.size());
  fmt::print("{:<{}}", "", width);
  for (const auto& [category, accuracy] : lines.front().accuracy.categories) fmt::print("  {:<19}", category);
  fmt::print("  all\n");
  for (const PairLine& line : lines) {
    fmt::print("{:<{}}", line.title, width);
    for (const auto& [category, accuracy] : line.accuracy.categories) fmt::print("  {:<19}", cell(accuracy));
    fmt::print("  {}\n", cell(line.accuracy.all));
  }
  fmt::print("\n");
  for (const PairLine& line : lines) fmt::print("{:<{}}  {}\n", line.title, width, line.formula);
}

}  // namespace

void score_pair_agreement(const AgreementFlags& flags) {
  if (flags.judgements.size() != 1 || !flags.captions.empty()) {
    throw UsageError(describe("--layout pascal-50s", "one file of --judgements and no --captions",
                              fmt::format("{} and {}", flags.judgements.size(), flags.captions.size())));
  }
  const std::vector<score::JudgedPair> pairs = score::read_judged_pairs(flags.judgements.front());
  std::vector<std::string> images;
  for (const score::JudgedPair& pair : pairs) images.insert(images.end(), 2, pair.image);
  const auto progress = make_progress();
  std::vector<CaptionValues> metrics, of_run;
  std::vector<std::vector<std::vector<double>>> draws;  // metric, draw, caption
  Absent absent;
  for (int64_t draw = 0; draw < flags.draws; ++draw) {
    const auto captions =
        score::captions_of_pairs(pairs, flags.num_references, flags.seed + static_cast<uint64_t>(draw));
    if (draw == 0) {
      write_data_set(captions, images, flags);
      of_run = values_of_run(captions.ids, flags);
    }
    absent.clear();
    metrics = values_of_metrics(captions, flags, absent, context_with(*progress));
    draws.resize(metrics.size());
    for (size_t m = 0; m < metrics.size(); ++m) draws[m].push_back(std::move(metrics[m].values));
  }
  for (CaptionValues& metric : of_run) {
    draws.push_back({std::move(metric.values)});
    metrics.push_back(std::move(metric));
  }
  std::vector<PairLine> lines;
  for (size_t m = 0; m < metrics.size(); ++m) {
    lines.push_back({metrics[m].title, metrics[m].formula, score::pair_accuracy(draws[m], pairs, flags.bootstrap())});
    if (lines.back().accuracy.undefined > 0) {
      fmt::print(stderr, "{} is undefined for {} of {} pairs, which are left out\n", metrics[m].title,
                 lines.back().accuracy.undefined, pairs.size());
    }
  }
  for (const auto& [metric, reason] : absent) fmt::print(stderr, "{} is left out: {}\n", metric, reason);
  flags.format == "json" ? print_json(pairs, lines, absent) : print_text(pairs, lines, flags);
}

}  // namespace readback::cli
