// What `readback run` and `readback demo` share.
#pragma once
#include "common.h"
#include "readback/workflow/run.h"

namespace readback::cli {

// Headings of a run's flags, by the path of the option.
std::string run_flag_group(const std::string& path);

// Runs (or goes on with) the run in `folder` and measures it. Prints a summary to standard error. Of several ranks this
// prints on rank 0; the others lend their models.
workflow::RunResult run_and_tell(const roundtrip::RunOptions& options, const std::string& folder);

// Errors: DataError when samples failed: how many, and the first ones with their reasons.
void expect_no_failures(const workflow::RunResult& result);

}  // namespace readback::cli
