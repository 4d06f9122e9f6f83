// A whole run as one call: open models and data, plan, execute, measure, draw the curves, write the results.
#pragma once
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "readback/base/context.h"
#include "readback/base/ranks.h"
#include "readback/data/dataset.h"
#include "readback/roundtrip/execute.h"
#include "readback/roundtrip/options.h"
#include "readback/roundtrip/store.h"

namespace readback::workflow {

struct RunResult {
  std::filesystem::path folder;  // empty on other ranks than 0
  int64_t samples = 0;
  roundtrip::Summary summary;
  double measuring_seconds = 0;
  std::vector<std::string> metrics;           // that were measured
  std::vector<roundtrip::ErrorRow> failures;  // of all samples, this start's
  std::vector<std::string> notes;             // what people should know, such as seeds that are not honoured
};

// What a run may be given besides its options.
struct RunInputs {
  std::string command;                     // how the run was asked for, recorded for people
  const data::Dataset* dataset = nullptr;  // instead of the one that options.dataset names, which it is called by then
  // Puts candidates into the store that were made elsewhere, wholly or by half, before any is made.
  std::function<void(roundtrip::Store&)> prepare = {};
};

// Does the run in `folder`, or goes on with it. Opens the models that the options name. Of several ranks rank 0 has the
// folder and the result; the others lend it their models and return an empty result.
// Errors: UsageError, CheckpointError, DataError (the data set as a whole, or more than max_errors samples),
// StoreError, EngineError, NetworkError, RankError, Interrupted: what is committed stays, and the same call goes on.
RunResult run(const roundtrip::RunOptions& options, const std::filesystem::path& folder, const Context& context = {},
              const Ranks& ranks = {}, const RunInputs& inputs = {});

// The same with models of one's own. options.captioner and options.generator are what the run calls them.
RunResult run(const roundtrip::RunOptions& options, caption::Captioner& captioner, generate::Generator& generator,
              const std::filesystem::path& folder, const Context& context = {}, const RunInputs& inputs = {});

}  // namespace readback::workflow
