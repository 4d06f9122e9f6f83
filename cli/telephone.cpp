#include "readback/workflow/telephone.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "flags.h"
#include "readback/base/files.h"
#include "readback/report/telephone.h"
#include "run.h"

namespace readback::cli {

namespace {

struct TelephoneFlags {
  workflow::TelephoneOptions options;
  std::string output, recipe;
};

// The options of a run that a round has, under the run's headings.
constexpr const char* kOfRun = "run.";
bool is_flag(const std::string& path, Scope scope) {
  return scope != Scope::kCall && path != "run.dataset" && path != "run.num_candidates" && path != "run.ceiling";
}
std::string group_of(const std::string& path) {
  return path.starts_with(kOfRun) ? run_flag_group(path.substr(std::string(kOfRun).size())) : "Options";
}

void play(const TelephoneFlags& flags) {
  const auto silent = make_progress();
  const Ranks ranks(find_launch(), context_with(*silent));
  const auto progress = make_progress(ranks);
  if (ranks.is_root()) note_unused_gpu(flags.options.run.machine);
  const workflow::TelephoneResult result =
      workflow::telephone(flags.options, flags.output, context_with(*progress), ranks, command_line());
  if (!ranks.is_root()) return;  // another rank has it
  const std::filesystem::path page = result.folder / "telephone.html";
  write_file(page, report::render_telephone(result.folder));
  for (const std::string& sentence : report::telephone_sentences(result.folder)) {
    fmt::print(stderr, "{}\n", sentence);
  }
  for (const std::string& note : result.notes) fmt::print(stderr, "{}\n", note);
  fmt::print("{}\n", page.string());
  std::fflush(stdout);
  expect_no_failures({.folder = result.folder, .samples = result.samples, .failures = result.failures});
}

}  // namespace

void add_telephone(CLI::App& app) {
  auto flags = std::make_shared<TelephoneFlags>();
  CLI::App* verb = app.add_subcommand(
      "telephone", "The message passed on and on: how far it drifts a round, its half-life, the words that survive");
  verb->footer(
      "Examples:\n"
      "  readback telephone emoji-scenes --limit 200 --rounds 10 --output runs/telephone\n"
      "  readback telephone photos/ --directions i2t2i --captioner Salesforce/blip-image-captioning-base \\\n"
      "      --generator CompVis/stable-diffusion-v1-4 --clip openai/clip-vit-base-patch32 --output runs/photos\n"
      "  readback telephone texts:prompts.txt --directions t2i2t --rounds 5 --output runs/prompts\n"
      "  readback telephone emoji-scenes --limit 200 --rounds 20 --output runs/telephone   # ten rounds more\n"
      "  readback report runs/telephone                                                    # draws the page again\n"
      "Writes OUTPUT/telephone.html and telephone.json; each round is a run of its own, OUTPUT/i2t2i/round-01 and so\n"
      "on, which `readback report` shows. The same command again goes on where it stopped. Status: 0 all done, 1 some\n"
      "samples failed.");
  workflow::TelephoneOptions& options = flags->options;
  verb->add_option("DATASET", options.run.dataset, data::kDatasetSpecs)->required();
  verb->add_option("--output", flags->output, "Folder of the rounds")->required();
  add_options(*verb, options, {.wanted = is_flag, .group = group_of});
  add_recipe_flag(*verb, flags->recipe);
  verb->callback([flags] { play(*flags); });
}

}  // namespace readback::cli
