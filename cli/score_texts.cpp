#include <fmt/format.h>

#include "readback/base/error.h"
#include "readback/data/caption_file.h"
#include "readback/score/statistics/significance.h"
#include "score.h"
#include "score_pairwise.h"

namespace readback::cli {

namespace {

struct TextsFlags : ScoreFlags {
  std::string left;
  std::vector<std::string> right;
};

const std::vector<ShortName> kNames = {
    {"sbert", {{"SBERT", "sbert-text"}}},
    {"wmd", {{"WMD", "wmd-text"}}},
    {"wmd-ptb", {{"WMD-PTB", "wmd-text-ptb"}}},
    {"clip", {{"CLIP", "clip-text"}, {"CLIP-pooled", "clip-text-pooled"}}},
};

void score_texts(const TextsFlags& flags) {
  const Machine machine = flags.machine.open();
  const data::MatchedCaptions samples = data::match_captions(
      data::read_caption_file(flags.left), data::read_caption_files(flags.right), flags.allow_missing);
  const score::MetricContext context = flags.open_checkpoints(machine);
  const auto names = flags.metrics.empty() ? available(kNames, score::given(flags.checkpoints)) : flags.metrics;
  if (names.empty()) {
    throw UsageError(describe("readback score texts", "--sbert, --vectors or --clip", "no checkpoint to measure with"));
  }
  const ChosenMetrics chosen = choose_metrics(kNames, names, context);
  const auto count = static_cast<int64_t>(samples.ids.size());
  const std::vector<int64_t> partners = score::random_partners(count, flags.seed);

  const auto make_batch = [&](int64_t first, int64_t last) {
    score::PairBatch batch;
    for (int64_t i = first; i < last; ++i) {
      score::Comparison comparison;
      comparison.candidate_text = samples.candidates[i];
      batch.own.emplace_back();
      for (const std::string& reference : samples.references[i]) {
        comparison.original_text = reference;
        batch.own.back().push_back(comparison);
      }
      if (count < 2) continue;
      comparison.original_text = samples.references[partners[i]].front();
      batch.random.push_back(comparison);
    }
    return batch;
  };
  const auto progress = make_progress();
  const auto scores =
      score::score_pairwise(chosen.metrics, count, flags.batch_size, make_batch, context_with(*progress));

  ScoreTable table{fmt::format("{} texts", with_commas(count)), {}, {}, left_out(samples)};
  std::vector<SampleColumn> columns;
  add_lines(chosen, scores, table, columns);
  note_truncation(context);
  if (!flags.per_sample.empty()) write_samples(flags.per_sample, samples.ids, columns);
  print_scores(table, flags.format);
}

constexpr const char* kFileHelp = "COCO file, JSON of texts by id, JSON Lines, or a text a line";

}  // namespace

void add_score_texts(CLI::App& score) {
  auto flags = std::make_shared<TextsFlags>();
  CLI::App* verb = score.add_subcommand("texts", "Distances of meaning between texts: SBERT, Word Mover's, CLIP");
  verb->footer(
      "Examples:\n"
      "  readback score texts --left mine.txt --right theirs.txt --sbert sentence-transformers/all-MiniLM-L6-v2\n"
      "  readback score texts --left results.json --right captions_val2017.json --metrics sbert,wmd,clip \\\n"
      "      --sbert sentence-transformers/all-MiniLM-L6-v2 --vectors glove.6B.200d.txt \\\n"
      "      --clip openai/clip-vit-base-patch32 --per-sample distances.jsonl");
  verb->add_option("--left", flags->left, kFileHelp)->required();
  verb->add_option("--right", flags->right,
                   std::string(kFileHelp) +
                       "; of several texts of an id the mean distance counts, several files: one "
                       "text of each")
      ->required()
      ->allow_extra_args(false);
  flags->add_checkpoints(*verb, {"clip", "sbert", "vectors"});
  flags->add_to(*verb, "sbert, wmd, wmd-ptb, clip");
  verb->callback([flags] { score_texts(*flags); });
}

}  // namespace readback::cli
