#include "readback/workflow/finetune.h"

#include <fmt/format.h>

#include "common.h"
#include "flags.h"

namespace readback::cli {

namespace {

std::string group_of(const std::string& path) {
  const auto is = [&path](const char* beginning) { return path.starts_with(beginning); };
  if (is("task.models.")) return "Models";
  if (is("task.objective.anchor") || is("task.objective.draft") || is("task.objective.policy") ||
      path == "task.objective.reading") {
    return "Beyond the paper";
  }
  if (is("task.returned.")) return "Learning from what returned";
  if (is("task.evaluation.") || path == "train.evaluate_every" || path == "train.patience") {
    return "Evaluation and the best checkpoint";
  }
  if (is("collect.") || path == "rounds") return "Collecting what returns";
  if (is("guard.")) return "Guards";
  if (is("machine.")) return "Options";
  if (is("train.") || is("captioner_") || path == "task.gradient_checkpointing" || path == "task.batches.batch_size" ||
      path == "task.batches.seed") {
    return "Training";
  }
  return is("task.batches.") && path != "task.batches.draws" ? "Data" : "Objective";
}

}  // namespace

void add_finetune(CLI::App& app) {
  struct Flags {
    workflow::FinetuneOptions options;
    std::string output, recipe;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = app.add_subcommand(
      "finetune", "Captioner and generator teach each other, by a recipe: unified, or by what returned");
  verb->footer(
      "Examples:\n"
      "  readback finetune recipes/unified/unified.toml --output runs/unified\n"
      "  readback finetune recipes/unified/unified.toml --losses lm --output runs/lm    # the control\n"
      "  readback finetune recipes/unified/unified.toml --output runs/unified           # again: goes on\n"
      "  torchrun --no-python --nproc-per-node 2 \\\n"
      "      readback finetune recipes/unified/unified.toml --batch-size 4 --output runs/two   # srun, mpirun too\n"
      "  readback finetune recipes/unified/unified.toml --train-captioner lora:xattn_qkv \\\n"
      "      --train-generator lora:all --lora-rank 16 --output runs/lora\n"
      "  readback finetune recipes/return/both.toml --output runs/both     # from what comes back, without captions\n"
      "  readback finetune recipes/return/photos.toml --pictures photos/ --output runs/photos\n"
      "Writes OUTPUT/captioner and OUTPUT/generator, repositories for transformers and diffusers, or of what lora:\n"
      "trains adapters for PEFT and diffusers; every verb takes both as --captioner and --generator.");
  verb->add_option("RECIPE", flags->recipe, "File of the flags below; the command line wins over it");
  verb->add_option("--output", flags->output, "Folder for the two repositories and the state to resume from")
      ->required();
  add_options(*verb, flags->options,
              {.wanted = [](const std::string&, Scope scope) { return scope != Scope::kCall; }, .group = group_of});
  for (const char* flag : {"--captioner", "--generator"}) verb->get_option(flag)->required();
  add_recipe_flag(*verb, flags->recipe);
  verb->callback([flags] {
    const auto silent = make_progress();
    const Ranks ranks(find_launch(), context_with(*silent));
    const auto progress = make_progress(ranks);
    if (ranks.is_root()) note_unused_gpu(flags->options.machine);
    const workflow::FinetuneResult result =
        workflow::finetune(flags->options, flags->output, context_with(*progress), ranks);
    if (!ranks.is_root()) return;
    for (const std::string& note : result.notes) fmt::print(stderr, "{}\n", note);
    fmt::print("{}\n", flags->output);
  });
}

}  // namespace readback::cli
