#include "readback/workflow/finetune.h"

#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/options_json.h"
#include "readback/checkpoint/repository.h"
#include "readback/train/return_task.h"
#include "readback/train/trainer.h"
#include "readback/train/unified_task.h"

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

}  // namespace

void finetune(const FinetuneOptions& wanted, const std::filesystem::path& folder, const Context& context,
              const Ranks& ranks) {
  const FinetuneOptions options = resolved(wanted);
  const Machine machine = open_machine(options.machine, ranks.local_rank());
  const bool from_return = options.task.losses == train::Losses::kReturn;
  const auto task = from_return ? train::make_return_task(options.task, machine, context, ranks)
                                : train::make_unified_task(options.task, machine, context, ranks);
  nlohmann::json start = nlohmann::json::object();
  if (ranks.is_root()) {
    for (const auto& [role, repository] : {std::pair("captioner", options.task.models.captioner),
                                           std::pair("generator", options.task.models.generator)}) {
      start[role] = checkpoint::Repository(repository).digest();
    }
  }
  const auto identity = train::TrainingIdentity::of(options_identity(options), options_identity(FinetuneOptions()),
                                                    machine, std::move(start));
  const bool paper = options.task.objective.objective == train::Objective::kPaper;
  train::train(*task, options.train, identity, folder, context, ranks,
               {{.prefix = train::kCaptionerPrefix,
                 .learning_rate = options.captioner_learning_rate / options.train.learning_rate,
                 .weight_decay = options.captioner_weight_decay,
                 .clipped = !paper}});
}

}  // namespace readback::workflow
