#include "score.h"

#include <fmt/format.h>

#include "common.h"
#include "readback/score/registry.h"

namespace readback::cli {

namespace {

void list_metric(const score::MetricInfo& metric, const std::string& inputs) {
  fmt::print("{:<18} {:<8} {:<22} {:<12} {}\n{:<18} {}\n", metric.name,
             metric.direction == score::Direction::kLowerIsBetter ? "lower" : "higher", inputs,
             metric.option.empty() ? "-" : "--" + metric.option, metric.title, "", metric.formula);
}

void list_metrics() {
  for (const score::MetricInfo& metric : score::all_metrics()) list_metric(metric, score::inputs_name(metric.inputs));
  for (const score::MetricInfo& metric : score::set_metrics()) list_metric(metric, "sets of images");
}

}  // namespace

void add_score(CLI::App& app) {
  CLI::App* verb = app.add_subcommand(
      "score", "Every metric: of captions, texts and pictures, and how good models are on the small world");
  verb->require_subcommand(1);
  verb->footer(
      "Examples:\n"
      "  readback score captions --predictions results.json --references captions_val2014.json\n"
      "  readback score texts --left mine.txt --right theirs.txt --metrics wmd --vectors glove.6B.200d.txt\n"
      "  readback score pairs --images photos/ --captions captions.jsonl --clip openai/clip-vit-base-patch32\n"
      "  readback score images --generated made/ --real photos/ --metrics fid,psnr --inception weights-inception.pth\n"
      "  readback score list\n"
      "  readback score prepare-meteor --package DIR/pycocoevalcap/meteor\n"
      "  readback score prepare-spice --package DIR/pycocoevalcap/spice\n"
      "  readback score scenes --split test\n"
      "  readback score scenes --split novel-pairs --no-captioner --limit 200 --format json");
  verb->add_subcommand(
          "list",
          "Every metric: name, which direction is better, what it compares, the flag of its checkpoint, title, formula")
      ->callback([] { list_metrics(); });

  add_score_prepare(*verb);
  add_score_agreement(*verb);
  add_score_captions(*verb);
  add_score_texts(*verb);
  add_score_pairs(*verb);
  add_score_images(*verb);
  add_score_scenes(*verb);
}

}  // namespace readback::cli
