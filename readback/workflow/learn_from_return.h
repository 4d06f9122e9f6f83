// Learning from what returned, in rounds: collect candidates, learn from the best, judge by what is held out.
//
//   learning.json          what it was asked for
//   probe/                 a small sample: runs, and estimate.json
//   rounds/K/pictures/     the image cycle's run, from round 1 on; `readback report` shows it
//   rounds/K/texts/        the text cycle's
//   rounds/K/trained/      a training's folder
//   rounds/K/held_out/     the run over held-out samples, from round 0, the starting models, on
//   rounds/K/judgement.json   guards.h
//   captioner/, generator/    of the best round: links to rounds/K/trained
#pragma once
#include <filesystem>

#include "readback/base/context.h"
#include "readback/base/ranks.h"
#include "readback/workflow/finetune.h"

namespace readback::workflow {

// Whether `options` ask to learn from runs that are still to be made.
bool collects(const FinetuneOptions& options);

// All ranks must see `folder`. Ends early, with the round before as the best, when reward and held-out metrics part
// ways. Errors: as finetune()'s; UsageError with the figures when the return does not beat random pairs by enough to
// teach.
FinetuneResult learn_from_return(const FinetuneOptions& options, const std::filesystem::path& folder,
                                 const Context& context, const Ranks& ranks);

}  // namespace readback::workflow
