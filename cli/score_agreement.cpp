#include "score_agreement.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <future>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "common.h"
#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/roundtrip/curves.h"
#include "readback/score/agreement.h"
#include "readback/score/registry.h"
#include "readback/score/text/caption_scores.h"
#include "score.h"
#include "score_table.h"

namespace readback::cli {

namespace {

using nlohmann::ordered_json;

constexpr const char* kPairs = "pascal-50s";

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

void print_json(const score::Judgements& judgements, const std::vector<AgreementLine>& lines, const Absent& absent) {
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

void print_text(const score::Judgements& judgements, const std::vector<AgreementLine>& lines, const Absent& absent) {
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
  if (flags.layout == kPairs) return score_pair_agreement(flags);
  if (flags.captions.size() != flags.judgements.size()) {
    throw UsageError(describe("--captions", fmt::format("{}, one a file of judgements", flags.judgements.size()),
                              std::to_string(flags.captions.size())));
  }
  score::Judgements judgements;
  for (size_t i = 0; i < flags.judgements.size(); ++i) {
    score::append(judgements, score::read_judgements(score::parse_judgement_layout(flags.layout), flags.judgements[i],
                                                     flags.captions[i]));
  }
  write_data_set(judgements.captions, judgements.image_names, flags);
  const auto progress = make_progress();
  Absent absent;
  std::vector<CaptionValues> metrics = values_of_run(judgements.captions.ids, flags);
  for (CaptionValues& own : values_of_metrics(judgements.captions, flags, absent, context_with(*progress))) {
    metrics.push_back(std::move(own));
  }
  std::vector<std::pair<const CaptionValues*, std::future<score::Agreement>>> pending;
  for (const CaptionValues& metric : metrics) {
    pending.emplace_back(&metric, std::async(std::launch::async, [&judgements, &flags, &metric] {
      return score::agreement(metric.values, judgements, flags.bootstrap());
    }));
  }
  progress->begin("agreement", static_cast<int64_t>(pending.size()));
  std::vector<AgreementLine> lines;
  for (auto& [metric, agreement] : pending) {
    lines.push_back(
        {metric->title, metric->formula, agreement.get(), note_undefined(metric->title, metric->values, "judgements")});
    progress->advance(1, metric->title);
  }
  progress->end();
  flags.format == "json" ? print_json(judgements, lines, absent) : print_text(judgements, lines, absent);
}

}  // namespace

std::vector<CaptionValues> values_of_metrics(const data::MatchedCaptions& captions, const AgreementFlags& flags,
                                             Absent& absent, const Context& context) {
  std::vector<CaptionValues> result;
  score::CaptionScoreOptions options;
  options.metrics = flags.metrics;
  score::CaptionScores scores = score::score_captions(captions, options, context);
  for (score::CaptionScoreGroup& group : scores.groups) {
    for (score::CaptionScore& entry : group.scores) {
      result.push_back({entry.title, score::find_metric(entry.name).formula, std::move(entry.samples)});
    }
  }
  if (result.empty()) {
    throw DataError(describe("--metrics", "one that can be computed here", scores.absent.front().second));
  }
  absent.insert(absent.end(), scores.absent.begin(), scores.absent.end());
  return result;
}

std::vector<CaptionValues> values_of_run(const std::vector<std::string>& ids, const AgreementFlags& flags) {
  std::vector<CaptionValues> result;
  if (flags.run.empty()) return result;
  const roundtrip::Store run = roundtrip::Store::open(flags.run);
  for (const score::MetricInfo& metric : run.metrics()) {
    const auto means = roundtrip::sample_means(run, roundtrip::Direction::kT2I2T, metric.name);
    const double sign = metric.direction == score::Direction::kHigherIsBetter ? 1 : -1;
    CaptionValues own{metric.name, metric.formula + ", of what was drawn and read", {}};
    bool any = false;
    for (const std::string& id : ids) {
      const auto found = means.find(id);
      any = any || found != means.end();
      own.values.push_back(found == means.end() ? std::numeric_limits<double>::quiet_NaN() : sign * found->second);
    }
    if (any) result.push_back(std::move(own));
  }
  if (result.empty()) {
    throw DataError(describe(flags.run, "a run from words to words whose samples are the judged captions",
                             "none that was measured of " + ids.front(),
                             "Make it of the data set that --data-set writes, with --directions t2i2t"));
  }
  return result;
}

void write_data_set(const data::MatchedCaptions& captions, const std::vector<std::string>& images,
                    const AgreementFlags& flags) {
  if (flags.data_set.empty()) return;
  AtomicFile file(flags.data_set);
  std::set<std::string> written;
  for (size_t i = 0; i < captions.ids.size(); ++i) {
    if (!written.insert(captions.ids[i]).second) continue;
    const ordered_json line = {
        {"id", captions.ids[i]}, {"image", images[i]}, {"captions", ordered_json::array({captions.candidates[i]})}};
    file.append(line.dump() + "\n");
  }
  file.commit();
}

void add_score_agreement(CLI::App& score) {
  auto flags = std::make_shared<AgreementFlags>();
  CLI::App* verb = score.add_subcommand("agreement", "How metrics of captions, and what comes back, agree with people");
  verb->footer(
      "Examples:\n"
      "  readback score agreement --layout flickr8k-expert --judgements ExpertAnnotations.txt \\\n"
      "      --captions Flickr8k.token.txt\n"
      "  readback score agreement --layout flickr8k-crowdflower --judgements CrowdFlowerAnnotations.txt \\\n"
      "      --captions Flickr8k.token.txt --metrics bleu,rouge --format json\n"
      "  readback score agreement --layout composite --judgements 8k_correctness.csv coco_correctness.csv \\\n"
      "      --captions Flickr8k.token.txt captions_val2014.json\n"
      "  readback score agreement --layout pascal-50s --judgements pascal-50s.jsonl\n"
      "What comes back from a judged caption, by any distance: draw each of them, then give the run.\n"
      "  readback score agreement --layout pascal-50s --judgements pascal-50s.jsonl --data-set judged.jsonl\n"
      "  readback run jsonl:judged.jsonl:JPEGImages --directions t2i2t --metrics clip-image,sbert-text … --output "
      "runs/judged\n"
      "  readback score agreement --layout pascal-50s --judgements pascal-50s.jsonl --run runs/judged");
  verb->add_option("--layout", flags->layout, "flickr8k-expert, flickr8k-crowdflower, composite or pascal-50s")
      ->required()
      ->check(CLI::IsMember({"flickr8k-expert", "flickr8k-crowdflower", "composite", kPairs}));
  verb->add_option("--judgements", flags->judgements,
                   "ExpertAnnotations.txt, CrowdFlowerAnnotations.txt, Composite's …_correctness.csv (several: with as "
                   "many --captions), or what tools/pascal_50s.py makes")
      ->required();
  verb->add_option("--captions", flags->captions,
                   "Flickr8k.token.txt; for Composite the captions of each corpus, in the same order");
  verb->add_option("--run", flags->run, "Run over the judged captions: its metrics' agreement, too");
  verb->add_option("--data-set", flags->data_set, "Write the judged captions here, as a data set for such a run");
  verb->add_option("--num-references", flags->num_references, "Of a pair's references, drawn; 0: all")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  verb->add_option("--draws", flags->draws, "Draws of references that accuracies of pairs are means over")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  verb->add_option("--seed", flags->seed, "Of these draws")->capture_default_str();
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
