#include <fmt/format.h>
#include <fmt/ranges.h>

#include <future>
#include <nlohmann/json.hpp>

#include "common.h"
#include "readback/base/error.h"
#include "readback/score/agreement.h"
#include "readback/score/registry.h"
#include "readback/score/text/caption_scores.h"
#include "score.h"
#include "score_table.h"

namespace readback::cli {

namespace {

using nlohmann::ordered_json;

struct AgreementFlags {
  std::string layout, judgements, captions, format = "text", interval = "percentile";
  std::vector<std::string> metrics = score::CaptionScoreOptions().metrics;
};

struct AgreementLine {
  std::string title, formula;
  score::Agreement agreement;
  int64_t undefined = 0;  // judgements that the metric has no value for
};

struct Column {
  const char *name, *title;
  score::Interval score::Correlations::*interval;
};
constexpr Column kColumns[] = {{"tau_b", "Kendall τ-b", &score::Correlations::kendall_tau_b},
                               {"tau_c", "Kendall τ-c", &score::Correlations::kendall_tau_c},
                               {"pearson", "Pearson", &score::Correlations::pearson},
                               {"spearman", "Spearman", &score::Correlations::spearman}};

void print_json(const score::Judgements& judgements, const std::vector<AgreementLine>& lines,
                const std::vector<std::pair<std::string, std::string>>& absent) {
  ordered_json metrics = ordered_json::object(), reasons = ordered_json::object();
  for (const AgreementLine& line : lines) {
    ordered_json &entry = metrics[line.title], intervals = ordered_json::object();
    for (const Column& column : kColumns) {
      const score::Interval& value = line.agreement.correlations.*column.interval;
      entry[column.name] = number(value.mean);
      intervals[column.name] = {number(value.low), number(value.high)};
    }
    entry["n"] = line.agreement.judgements;
    entry["undefined"] = line.undefined;
    entry["intervals"] = std::move(intervals);
    entry["formula"] = line.formula;
  }
  for (const auto& [metric, reason] : absent) reasons[metric] = reason;
  fmt::print("{}\n", ordered_json{{"metrics", metrics},
                                  {"absent", reasons},
                                  {"judgements", judgements.ratings.size()},
                                  {"images", judgements.images},
                                  {"left_out", judgements.left_out}}
                         .dump(2));
}

void print_text(const score::Judgements& judgements, const std::vector<AgreementLine>& lines,
                const std::vector<std::pair<std::string, std::string>>& absent) {
  fmt::print("{} judgements of captions of {} images", with_commas(static_cast<int64_t>(judgements.ratings.size())),
             with_commas(judgements.images));
  if (judgements.left_out > 0) {
    fmt::print("; {} captions left out, which are their image's own", with_commas(judgements.left_out));
  }
  fmt::print("\nCorrelations × 100 of each caption's own value, with 95 % bootstrap intervals over images\n");
  fmt::print("{:<10}", "");
  for (const Column& column : kColumns) fmt::print("  {:<23}", column.title);
  fmt::print("{:>8}\n", "n");
  for (const AgreementLine& line : lines) {
    fmt::print("{:<10}", line.title);
    for (const Column& column : kColumns) {
      const score::Interval& value = line.agreement.correlations.*column.interval;
      fmt::print("  {:<23}",
                 fmt::format("{:6.3f} [{:.2f}, {:.2f}]", 100 * value.mean, 100 * value.low, 100 * value.high));
    }
    fmt::print("{:>8}\n", with_commas(line.agreement.judgements));
  }
  fmt::print("\n");
  for (const AgreementLine& line : lines) fmt::print("{:<10}  {}\n", line.title, line.formula);
  for (const auto& [metric, reason] : absent) fmt::print(stderr, "{} is left out: {}\n", metric, reason);
}

void score_agreement(const AgreementFlags& flags) {
  const score::Judgements judgements =
      score::read_judgements(score::parse_judgement_layout(flags.layout), flags.judgements, flags.captions);
  const auto progress = make_progress();
  score::CaptionScoreOptions options;
  options.metrics = flags.metrics;
  const score::CaptionScores scores = score::score_captions(judgements.captions, options, context_with(*progress));
  if (scores.groups.empty()) {
    throw DataError(describe("--metrics", "one that can be computed here", scores.absent.front().second));
  }
  const score::BootstrapOptions bootstrap{.method = flags.interval == "bca" ? score::BootstrapMethod::kBca
                                                                            : score::BootstrapMethod::kPercentile};
  std::vector<std::pair<const score::CaptionScore*, std::future<score::Agreement>>> pending;
  for (const score::CaptionScoreGroup& group : scores.groups) {
    for (const score::CaptionScore& entry : group.scores) {
      pending.emplace_back(&entry, std::async(std::launch::async, [&judgements, &bootstrap, &entry] {
        return score::agreement(entry.samples, judgements, bootstrap);
      }));
    }
  }
  progress->begin("agreement", static_cast<int64_t>(pending.size()));
  std::vector<AgreementLine> lines;
  for (auto& [entry, agreement] : pending) {
    lines.push_back({entry->title, score::find_metric(entry->name).formula, agreement.get(),
                     note_undefined(entry->title, entry->samples, "judgements")});
    progress->advance(1, entry->title);
  }
  progress->end();
  flags.format == "json" ? print_json(judgements, lines, scores.absent) : print_text(judgements, lines, scores.absent);
}

}  // namespace

void add_score_agreement(CLI::App& score) {
  auto flags = std::make_shared<AgreementFlags>();
  CLI::App* verb = score.add_subcommand("agreement", "How metrics of captions correlate with human judgements");
  verb->footer(
      "Examples:\n"
      "  readback score agreement --layout flickr8k-expert --judgements ExpertAnnotations.txt \\\n"
      "      --captions Flickr8k.token.txt\n"
      "  readback score agreement --layout flickr8k-crowdflower --judgements CrowdFlowerAnnotations.txt \\\n"
      "      --captions Flickr8k.token.txt --metrics bleu,rouge --format json");
  verb->add_option("--layout", flags->layout, "flickr8k-expert or flickr8k-crowdflower")
      ->required()
      ->check(CLI::IsMember({"flickr8k-expert", "flickr8k-crowdflower"}));
  verb->add_option("--judgements", flags->judgements, "ExpertAnnotations.txt or CrowdFlowerAnnotations.txt")
      ->required();
  verb->add_option("--captions", flags->captions, "Flickr8k.token.txt")->required();
  verb->add_option("--metrics", flags->metrics, fmt::format("{}", fmt::join(score::caption_metrics(), ", ")))
      ->capture_default_str()
      ->delimiter(',');
  verb->add_option("--interval", flags->interval, "95 % bootstrap interval: percentile or bca")
      ->capture_default_str()
      ->check(CLI::IsMember({"percentile", "bca"}));
  verb->add_option("--format", flags->format, "text or json; correlations of JSON are not times 100")
      ->capture_default_str()
      ->check(CLI::IsMember({"text", "json"}));
  verb->callback([flags] { score_agreement(*flags); });
}

}  // namespace readback::cli
