// What the verbs share that make runs.
#pragma once
#include "common.h"
#include "readback/workflow/run.h"

namespace readback::cli {

// Headings of a run's flags, by the path of the option.
std::string run_flag_group(const std::string& path);

// What a run did, in a few lines on standard error.
void tell(const workflow::RunResult& result);

// Runs (or goes on with) the run in `folder` and measures it, and tells. Of several ranks this
// prints on rank 0; the others lend their models.
workflow::RunResult run_and_tell(const roundtrip::RunOptions& options, const std::string& folder);

// Errors: DataError when samples failed: how many, and the first ones with their reasons.
void expect_no_failures(const workflow::RunResult& result);

}  // namespace readback::cli
