#include <fmt/format.h>

#include "common.h"
#include "flags.h"
#include "readback/base/error.h"
#include "readback/workflow/train_model.h"

namespace readback::cli {

namespace {

std::string group_of(const std::string& path) {
  if (path.starts_with("train.")) return "Training";
  return path.starts_with("machine.") ? "Options" : "Model and data";
}

}  // namespace

void add_train(CLI::App& app) {
  struct Flags {
    workflow::TrainModelOptions options;
    std::string output, recipe;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = app.add_subcommand("train", "Train a model of the small world from scratch, by a recipe");
  verb->footer(
      "Examples:\n"
      "  readback train recipes/emoji-scenes/vae.toml --output runs/vae\n"
      "  readback train recipes/emoji-scenes/vae.toml --output runs/vae    # again: goes on where it stopped");
  verb->add_option("RECIPE", flags->recipe, "File of the flags below; the command line wins over it");
  verb->add_option("--output", flags->output, "Folder for the repository and the state to resume from")->required();
  add_options(*verb, flags->options, FlagRules{.group = group_of});
  for (const char* flag : {"--task", "--model"}) verb->get_option(flag)->required();
  add_recipe_flag(*verb, flags->recipe);
  verb->callback([flags] {
    if (const int64_t size = find_launch().size; size > 1) {
      throw UsageError(describe("readback train", "one process", std::to_string(size),
                                "The small world's models are too small to share; `readback finetune` can be"));
    }
    note_unused_gpu(flags->options.machine);
    const auto progress = make_progress();
    workflow::train_model(flags->options, flags->output, context_with(*progress));
    fmt::print("{}\n", flags->output);
  });
}

}  // namespace readback::cli
