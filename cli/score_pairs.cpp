#include <fmt/format.h>

#include <algorithm>

#include "readback/base/error.h"
#include "readback/score/image/image_files.h"
#include "readback/score/statistics/significance.h"
#include "score.h"
#include "score_pairwise.h"

namespace readback::cli {

namespace {

struct PairsFlags : ScoreFlags {
  std::string images, captions;
  std::vector<std::string> references;
};

const std::vector<ShortName> kNames = {
    {"clipscore", {{"CLIPScore", "clipscore"}}},
    {"refclipscore", {{"RefCLIPScore", "refclipscore"}}},
    {"text-probability", {{"Text probability", "text-probability"}}},
    {"vqascore", {{"VQAScore", "vqascore"}}},
    {"denoising-error", {{"Denoising error", "denoising-error"}}},
};

score::CaptionedImages read_samples(const PairsFlags& flags) {
  std::optional<data::CaptionFile> references;
  if (!flags.references.empty()) references = data::read_caption_files(flags.references);
  score::CaptionedImages samples =
      score::match_captions(flags.images, data::read_caption_file(flags.captions), references, flags.allow_missing);
  if (samples.by_line) {
    fmt::print(stderr, "{} has no ids: its lines go with the images of {} in the order of their names\n",
               flags.captions, flags.images);
  }
  return samples;
}

std::vector<std::string> metric_names(const PairsFlags& flags) {
  std::vector<std::string> names = flags.metrics;
  if (names.empty())
    names = flags.references.empty() ? std::vector<std::string>{"clipscore"}
                                     : std::vector<std::string>{"clipscore", "refclipscore"};
  if (flags.references.empty() && std::ranges::find(names, "refclipscore") != names.end()) {
    throw UsageError(describe("refclipscore", "reference captions", "none", "Give them with --references"));
  }
  return names;
}

void score_pairs(const PairsFlags& flags) {
  const Machine machine = flags.machine.open();
  const std::vector<std::string> names = metric_names(flags);
  const score::CaptionedImages samples = read_samples(flags);
  const score::MetricContext context = flags.open_checkpoints(machine);
  const ChosenMetrics chosen = choose_metrics(kNames, names, context);
  const auto count = static_cast<int64_t>(samples.ids.size());
  const std::vector<int64_t> partners = score::random_partners(count, flags.seed);

  const auto make_batch = [&](int64_t first, int64_t last) {
    std::vector<std::filesystem::path> paths;
    for (int64_t i = first; i < last; ++i) {
      paths.push_back(samples.images[i]);
      paths.push_back(samples.images[partners[i]]);
    }
    score::PairBatch batch;
    batch.images = score::load_images(paths);
    for (int64_t i = first; i < last; ++i) {
      const size_t place = 2 * static_cast<size_t>(i - first);
      score::Comparison comparison;
      comparison.original_image = batch.images[place].get();
      comparison.references = samples.references[i];
      batch.own.emplace_back();
      for (const std::string& caption : samples.captions[i]) {
        comparison.candidate_text = caption;
        batch.own.back().push_back(comparison);
      }
      if (count < 2) continue;
      comparison.original_image = batch.images[place + 1].get();
      comparison.candidate_text = samples.captions[i].front();
      comparison.references = samples.references[partners[i]];
      batch.random.push_back(comparison);
    }
    return batch;
  };
  const auto progress = make_progress();
  const auto scores =
      score::score_pairwise(chosen.metrics, count, flags.batch_size, make_batch, context_with(*progress));

  size_t captions = 0;
  for (const auto& of_image : samples.captions) captions += of_image.size();
  ScoreTable table{
      fmt::format("{} images, {} captions", with_commas(count), with_commas(static_cast<int64_t>(captions))),
      {},
      {},
      left_out(samples)};
  std::vector<SampleColumn> columns;
  add_lines(chosen, scores, table, columns);
  note_truncation(context);
  if (!flags.per_sample.empty()) write_samples(flags.per_sample, samples.ids, columns);
  print_scores(table, flags.format);
}

}  // namespace

void add_score_pairs(CLI::App& score) {
  auto flags = std::make_shared<PairsFlags>();
  CLI::App* verb = score.add_subcommand(
      "pairs", "How well captions fit their images: CLIPScore, RefCLIPScore, a captioner's or a generator's judgement");
  verb->footer(
      "Examples:\n"
      "  readback score pairs --images photos/ --captions captions.jsonl --clip openai/clip-vit-base-patch32\n"
      "  readback score pairs --images val2017/ --captions results.json --references captions_val2017.json \\\n"
      "      --metrics clipscore,refclipscore --clip openai/clip-vit-base-patch32 --format json\n"
      "  readback score pairs --images photos/ --captions captions.jsonl --metrics text-probability \\\n"
      "      --judge-captioner Salesforce/blip-image-captioning-base");
  verb->add_option("--images", flags->images, "Folder, or a data set that begins with its layout's name (docs/DATA.md)")
      ->required();
  verb->add_option(
          "--captions", flags->captions,
          "COCO file, JSON of captions by id, JSON Lines, a table, another layout of docs/DATA.md, or text with a "
          "caption a line; ids are file names. Of several captions of an image the mean counts")
      ->required();
  verb->add_option("--references", flags->references, "The same, for refclipscore; several: one reference of each")
      ->allow_extra_args(false);
  flags->add_checkpoints(*verb, {"clip", "judge_captioner", "judge_generator"});
  flags->add_to(*verb, "clipscore, refclipscore, text-probability, vqascore, denoising-error");
  verb->callback([flags] { score_pairs(*flags); });
}

}  // namespace readback::cli
