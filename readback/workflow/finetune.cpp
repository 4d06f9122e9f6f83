#include "readback/workflow/finetune.h"

#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/options_json.h"
#include "readback/checkpoint/repository.h"
#include "readback/roundtrip/choices.h"
#include "readback/roundtrip/store.h"
#include "readback/train/return_task.h"
#include "readback/train/trainer.h"
#include "readback/train/unified_task.h"
#include "readback/workflow/learn_from_return.h"

namespace readback::workflow {

namespace {

// `options` with the data set of the evaluation, when there is one.
FinetuneOptions resolved(FinetuneOptions options) {
  check_options(options);
  const std::string& trained_on = options.task.batches.samples.dataset;
  std::string& evaluated_on = options.task.evaluation.dataset;
  if (options.train.evaluate_every == 0 || !evaluated_on.empty()) return options;
  if (trained_on != "emoji-scenes") {
    throw UsageError(describe("evaluate_every", "an evaluate_dataset, samples that are not trained on", "none"));
  }
  evaluated_on = trained_on;
  return options;
}

// Digests of what is learned from: models, and runs by how they were made and how far.
nlohmann::json digests(const FinetuneOptions& options) {
  nlohmann::json start = nlohmann::json::object();
  start["captioner"] = checkpoint::Repository(options.task.models.captioner, options.machine.variant).digest();
  start["generator"] = checkpoint::Repository(options.task.models.generator, options.machine.variant).digest();
  const train::ReturnOptions& returned = options.task.returned;
  for (const auto& [name, folder] :
       {std::pair("image_cycle_run", returned.image_cycle_run), std::pair("text_cycle_run", returned.text_cycle_run)}) {
    if (!folder.empty()) start[name] = roundtrip::content_digest(roundtrip::Store::open(folder));
  }
  return start;
}

// What runs teach, for people and for other trainers: training/lessons_i2t2i.jsonl, training/lessons_t2i2t.jsonl.
void export_lessons(const train::ReturnOptions& returned, const std::filesystem::path& folder) {
  using roundtrip::Direction;
  const auto write = [&](const std::string& run, Direction direction, const roundtrip::ChoiceOptions& options) {
    if (run.empty() || options.by.empty()) return;
    const auto store = roundtrip::Store::open(run);
    roundtrip::export_choices(store, direction, roundtrip::choose(store, direction, options),
                              folder / "training" / (std::string("lessons_") + roundtrip::name(direction) + ".jsonl"));
  };
  write(returned.image_cycle_run, Direction::kI2T2I, returned.image_cycle);
  write(returned.text_cycle_run, Direction::kT2I2T, returned.text_cycle);
}

}  // namespace

FinetuneResult finetune(const FinetuneOptions& wanted, const std::filesystem::path& folder, const Context& context,
                        const Ranks& ranks) {
  if (collects(wanted)) return learn_from_return(wanted, folder, context, ranks);
  const FinetuneOptions options = resolved(wanted);
  const Machine machine = open_machine(options.machine, ranks.local_rank());
  const auto task = options.task.losses == train::Losses::kReturn
                        ? train::make_return_task(options.task, machine, context, ranks)
                        : train::make_unified_task(options.task, machine, context, ranks);
  const auto identity =
      train::TrainingIdentity::of(options_identity(options), options_identity(FinetuneOptions()), machine,
                                  ranks.is_root() ? digests(options) : nlohmann::json::object());
  if (ranks.is_root() && options.task.losses == train::Losses::kReturn) export_lessons(options.task.returned, folder);
  const bool paper = options.task.objective.objective == train::Objective::kPaper;
  train::train(*task, options.train, identity, folder, context, ranks,
               {{.prefix = train::kCaptionerPrefix,
                 .learning_rate = options.captioner_learning_rate / options.train.learning_rate,
                 .weight_decay = options.captioner_weight_decay,
                 .clipped = !paper}});
  return {};
}

}  // namespace readback::workflow
