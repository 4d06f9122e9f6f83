#include "run.h"

#include <fmt/format.h>

#include <map>

#include "flags.h"
#include "readback/base/error.h"

namespace readback::cli {

std::string run_flag_group(const std::string& path) {
  if (path.starts_with("sampling.")) return "Captions";
  if (path.starts_with("reading.")) return "Captions of what comes back (words → picture → words)";
  if (path.starts_with("generation.")) return "Pictures";
  if (path.starts_with("checkpoints.")) return "Checkpoints of metrics";
  if (path.starts_with("wire.")) return kWireGroup;
  return "Options";
}

void tell(const workflow::RunResult& result) {
  const roundtrip::Summary& summary = result.summary;
  fmt::print(stderr, "{} round trips in {:.1f} s", summary.units, summary.seconds);
  if (summary.done_before > 0) fmt::print(stderr, ", {} of them done before", summary.done_before);
  if (summary.truncated_prompts > 0) fmt::print(stderr, "; {} prompts truncated", summary.truncated_prompts);
  if (summary.flagged_images > 0) {
    fmt::print(stderr, "; {} pictures blanked by the safety checker", summary.flagged_images);
  }
  fmt::print(stderr, "\n");
  for (const std::string& note : result.notes) fmt::print(stderr, "{}\n", note);
}

workflow::RunResult run_and_tell(const roundtrip::RunOptions& options, const std::string& folder) {
  const auto silent = make_progress();
  const Ranks ranks(find_launch(), context_with(*silent));
  const auto progress = make_progress(ranks);
  if (ranks.is_root()) note_unused_gpu(options.machine);
  workflow::RunResult result =
      workflow::run(options, folder, context_with(*progress), ranks, {.command = command_line()});
  if (ranks.is_root()) tell(result);
  return result;
}

void expect_no_failures(const workflow::RunResult& result) {
  if (result.failures.empty()) return;
  constexpr size_t kShown = 5;
  std::map<std::string, std::string> first;  // sample → why
  for (const roundtrip::ErrorRow& error : result.failures) {
    const std::string where = (error.direction ? std::string(name(*error.direction)) + ", " : "") + error.stage;
    first.try_emplace(error.sample, fmt::format("{} ({}): {}", error.sample, where, error.message));
  }
  std::string lines;
  size_t shown = 0;
  for (const auto& [sample, why] : first) {
    if (++shown > kShown) break;
    lines += "\n  " + why;
  }
  if (first.size() > kShown)
    lines += fmt::format("\n  … {} more in the table `errors` of run.sqlite", first.size() - kShown);
  throw DataError(
      fmt::format("{} of {} samples failed:{}\nWhat succeeded is stored; the same command tries the rest again",
                  first.size(), result.samples, lines));
}

void add_run(CLI::App& app) {
  struct Flags {
    roundtrip::RunOptions options;
    std::string output, recipe;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* verb =
      app.add_subcommand("run", "Both round trips over a data set: N candidates each, distances, rank curves");
  verb->footer(
      "Examples:\n"
      "  readback run emoji-scenes --limit 200 --output runs/scenes\n"
      "  readback run photos/ --captioner Salesforce/blip-image-captioning-base \\\n"
      "      --generator CompVis/stable-diffusion-v1-4 --clip openai/clip-vit-base-patch32 --output runs/photos\n"
      "  readback run coco:captions.json:val2017 --directions i2t2i --num-candidates 4 --output runs/coco\n"
      "  readback run photos/ --no-do-sample --num-beams 10 --reading-num-beams 5 --output runs/beams\n"
      "  readback run photos/ --dino facebook/dino-vitb8 --dino-size 384 --sbert "
      "sentence-transformers/all-MiniLM-L6-v2 "
      "\\\n"
      "      --vectors glove.6B.200d.txt --output runs/photos\n"
      "  torchrun --no-python --nproc-per-node 8 readback run photos/ --output runs/photos   # srun, mpirun too\n"
      "What is left away takes the models' own defaults, which the report shows. The same command again goes on where "
      "it\n"
      "stopped. Status: 0 all done, 1 some samples failed.");
  roundtrip::RunOptions& options = flags->options;
  verb->add_option("DATASET", options.dataset, data::kDatasetSpecs)->required();
  verb->add_option("--output", flags->output, "Run folder")->required();
  add_options(
      *verb, options,
      {.wanted = [](const std::string& path, Scope scope) { return scope != Scope::kCall && path != "dataset"; },
       .group = run_flag_group});
  add_recipe_flag(*verb, flags->recipe);
  verb->callback([flags] {
    const workflow::RunResult result = run_and_tell(flags->options, flags->output);
    if (result.folder.empty()) return;  // another rank has it
    fmt::print("{}\n", result.folder.string());
    std::fflush(stdout);
    expect_no_failures(result);
  });
}

}  // namespace readback::cli
