#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <future>

#include "common.h"
#include "readback/base/error.h"
#include "readback/score/statistics/significance.h"
#include "readback/score/text/caption_scores.h"
#include "score.h"
#include "score_table.h"

namespace readback::cli {

namespace {

struct CaptionsFlags {
  std::string predictions, baseline, frequencies = "batch", per_sample, format = "text", interval = "percentile";
  std::vector<std::string> references;
  std::vector<std::string> metrics = score::CaptionScoreOptions().metrics;
  bool allow_missing = false;
};

int64_t count_references(const data::MatchedCaptions& captions) {
  size_t count = 0;
  for (const auto& references : captions.references) count += references.size();
  return static_cast<int64_t>(count);
}

// Below this share of known words the frequencies are of another set: CIDEr would take every n-gram for a rare one.
constexpr double kLeastCoverage = 0.9;

score::StoredFrequencies load_frequencies(const CaptionsFlags& flags, const data::MatchedCaptions& captions) {
  auto frequencies = score::DocumentFrequencies::load(flags.frequencies);
  const double coverage = score::word_coverage(captions, frequencies);
  if (coverage < kLeastCoverage && !flags.allow_missing) {
    throw DataError(describe(flags.frequencies, "document frequencies of a set that these references belong to",
                             fmt::format("one that knows {:.0f} % of their words", 100 * coverage),
                             "Give the right file, or --allow-missing to use it nevertheless"));
  }
  if (coverage < kLeastCoverage) {
    fmt::print(stderr, "{} knows {:.0f} % of the references' words\n", flags.frequencies, 100 * coverage);
  }
  const std::string source =
      fmt::format("{} ({} documents)", std::filesystem::path(flags.frequencies).filename().string(),
                  with_commas(frequencies.documents()));
  return {source, std::move(frequencies)};
}

score::BootstrapOptions bootstrap_options(const CaptionsFlags& flags) {
  return {.method = flags.interval == "bca" ? score::BootstrapMethod::kBca : score::BootstrapMethod::kPercentile};
}

// Fills in every line's comparison with the captions of --baseline, and adds what these leave out.
void compare(ScoreTable& table, const score::CaptionScores& scores, const data::MatchedCaptions& captions,
             const data::CaptionFile& references, const score::CaptionScoreOptions& options,
             const CaptionsFlags& flags) {
  const data::MatchedCaptions others =
      data::match_captions(data::read_caption_file(flags.baseline), references, flags.allow_missing);
  if (others.ids != captions.ids) {
    throw DataError(describe(flags.baseline, "captions of the same ids as " + flags.predictions, "other ids"));
  }
  for (const std::string& id : others.left_out) {
    if (std::ranges::find(captions.left_out, id) != captions.left_out.end()) continue;
    table.left_out.ids.push_back(id);
    ++table.left_out.of;
  }
  const auto progress = make_progress();
  const score::CaptionScores baseline = score::score_captions(others, options, context_with(*progress));
  if (baseline.groups.size() != scores.groups.size()) {
    throw DataError(describe(flags.baseline, "the metrics of " + flags.predictions, baseline.absent.front().second));
  }
  std::vector<double> p_values;
  auto line = table.lines.begin();
  for (size_t g = 0; g < scores.groups.size(); ++g) {
    const score::Aggregate &ours = scores.groups[g].aggregate, &theirs = baseline.groups[g].aggregate;
    const auto differences = score::paired_difference(ours, theirs, bootstrap_options(flags));
    const auto p = score::paired_permutation(ours, theirs);
    for (size_t i = 0; i < p.size(); ++i, ++line) {
      line->comparison = {line->value.mean - differences[i].mean, {differences[i], p[i]}};
      p_values.push_back(p[i]);
    }
  }
  const std::vector<double> corrected = score::holm(p_values);
  for (size_t i = 0; i < corrected.size(); ++i) table.lines[i].comparison->test.p_holm = corrected[i];
}

// The rows of the captions of one domain.
score::Aggregate of_domain(const score::Aggregate& all, const std::vector<std::string>& domains,
                           const std::string& domain) {
  score::Aggregate result{all.width, {}, all.values};
  for (size_t i = 0; i < domains.size(); ++i) {
    if (domains[i] != domain) continue;
    const auto row = all.rows.begin() + static_cast<std::ptrdiff_t>(i) * all.width;
    result.rows.insert(result.rows.end(), row, row + all.width);
  }
  return result;
}

// Every line's values by domain, in the order of first appearance. A metric's captions stay scored as they are: CIDEr's
// document frequencies are still those of all references.
void add_domains(ScoreTable& table, const score::CaptionScores& scores, const data::MatchedCaptions& captions,
                 const CaptionsFlags& flags) {
  std::vector<std::string> names;
  for (const std::string& domain : captions.domains) {
    if (!domain.empty() && std::ranges::find(names, domain) == names.end()) names.push_back(domain);
  }
  for (const std::string& name : names) {
    auto line = table.lines.begin();
    for (const score::CaptionScoreGroup& group : scores.groups) {
      const score::Aggregate own = of_domain(group.aggregate, captions.domains, name);
      for (const score::Interval& value : score::bootstrap(own, bootstrap_options(flags))) {
        (line++)->domains.emplace_back(name, value);
      }
    }
  }
}

void score_captions(const CaptionsFlags& flags) {
  auto predictions = std::async(std::launch::async, [&] { return data::read_caption_file(flags.predictions); });
  const data::CaptionFile references = data::read_caption_files(flags.references);
  const data::MatchedCaptions captions = data::match_captions(predictions.get(), references, flags.allow_missing);
  if (const auto empty = std::ranges::count(captions.candidates, ""); empty > 0) {
    fmt::print(stderr, "{}: {} of the captions are empty and score 0\n", flags.predictions, with_commas(empty));
  }
  score::CaptionScoreOptions options;
  options.metrics = flags.metrics;
  if (flags.frequencies != "batch") options.frequencies = load_frequencies(flags, captions);
  const auto progress = make_progress();
  const score::CaptionScores scores = score::score_captions(captions, options, context_with(*progress));
  if (scores.groups.empty()) {
    throw DataError(describe("--metrics", "one that can be computed here", scores.absent.front().second));
  }

  ScoreTable table{fmt::format("{} captions, {} references", with_commas(static_cast<int64_t>(captions.ids.size())),
                               with_commas(count_references(captions))),
                   {},
                   scores.absent,
                   left_out(captions)};
  std::vector<SampleColumn> columns;
  std::vector<std::future<std::vector<score::Interval>>> pending;
  for (const score::CaptionScoreGroup& group : scores.groups) {
    pending.push_back(
        std::async(std::launch::async, [&] { return score::bootstrap(group.aggregate, bootstrap_options(flags)); }));
  }
  for (size_t g = 0; g < scores.groups.size(); ++g) {
    const score::CaptionScoreGroup& group = scores.groups[g];
    const std::vector<score::Interval> intervals = pending[g].get();
    for (size_t i = 0; i < group.scores.size(); ++i) {
      const score::CaptionScore& score = group.scores[i];
      table.lines.push_back({.title = score.title,
                             .formula = score.formula,
                             .value = intervals[i],
                             .more = {{"undefined", note_undefined(score.title, score.samples)}}});
      columns.push_back({group.scores[i].title, &group.scores[i].samples});
    }
  }
  add_domains(table, scores, captions, flags);
  if (!flags.baseline.empty()) compare(table, scores, captions, references, options, flags);
  if (!flags.per_sample.empty()) write_samples(flags.per_sample, captions.ids, columns);
  print_scores(table, flags.format);
}

void make_frequencies(const std::vector<std::string>& references, const std::string& output) {
  const score::DocumentFrequencies frequencies = score::document_frequencies(data::read_caption_files(references));
  frequencies.save(output);
  fmt::print("{}: {} documents, {} n-grams\n", output, with_commas(frequencies.documents()),
             with_commas(frequencies.ngrams()));
}

constexpr const char* kFileHelp =
    "COCO file, JSON of captions by id, JSON Lines, a table, another layout of docs/DATA.md, or text with a caption a "
    "line";

}  // namespace

void add_score_captions(CLI::App& score) {
  auto flags = std::make_shared<CaptionsFlags>();
  CLI::App* verb = score.add_subcommand("captions", "Captions against reference captions, as the COCO evaluation does");
  verb->footer(
      "Examples:\n"
      "  readback score captions --predictions results.json --references captions_val2014.json\n"
      "  readback score captions --predictions mine.txt --references first.txt --references second.txt --format json\n"
      "  readback score captions --predictions results.json --references val.json --metrics cider \\\n"
      "      --document-frequencies coco-val2014.df --per-sample scores.jsonl\n"
      "  readback score captions --predictions after.json --baseline before.json --references val.json");
  verb->add_option("--predictions", flags->predictions, kFileHelp)->required();
  verb->add_option("--references", flags->references, std::string(kFileHelp) + "; several: one reference of each")
      ->required()
      ->allow_extra_args(false);
  verb->add_option("--baseline", flags->baseline,
                   "Captions of another system for the same ids: differences, with a paired permutation test");
  verb->add_option("--metrics", flags->metrics, fmt::format("{}", fmt::join(score::caption_metrics(), ", ")))
      ->capture_default_str()
      ->delimiter(',');
  verb->add_option("--document-frequencies", flags->frequencies,
                   "CIDEr's: batch (of these references), or a file of readback score document-frequencies")
      ->capture_default_str();
  verb->add_option("--per-sample", flags->per_sample, "JSON Lines file for the scores of every caption");
  verb->add_flag("--allow-missing", flags->allow_missing, "Leave out ids that only one of the files has");
  verb->add_option("--interval", flags->interval, "95 % bootstrap interval: percentile or bca")
      ->capture_default_str()
      ->check(CLI::IsMember({"percentile", "bca"}));
  verb->add_option("--format", flags->format, "text or json")
      ->capture_default_str()
      ->check(CLI::IsMember({"text", "json"}));
  verb->callback([flags] { score_captions(*flags); });

  auto paths = std::make_shared<std::pair<std::vector<std::string>, std::string>>();
  CLI::App* frequencies = score.add_subcommand("document-frequencies",
                                               "CIDEr's document frequencies of a whole set, for scoring a part of it");
  frequencies->footer(
      "Example:\n"
      "  readback score document-frequencies --references captions_val2014.json --output coco-val2014.df");
  frequencies->add_option("--references", paths->first, kFileHelp)->required()->allow_extra_args(false);
  frequencies->add_option("--output", paths->second, "File")->required();
  frequencies->callback([paths] { make_frequencies(paths->first, paths->second); });
}

}  // namespace readback::cli
