// What every verb shares: the global flags, the progress bar, the way results and errors are printed.
#pragma once
#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "readback/base/context.h"
#include "readback/base/machine.h"
#include "readback/base/ranks.h"

namespace readback::cli {

// --device --dtype --threads --recipe, added to every verb.
struct MachineFlags {
  MachineOptions options;
  std::string recipe;  // read before the flags are (with_recipe); here for --help
  void add_to(CLI::App& verb);
  // Says once when `auto` takes the CPU though there is a GPU.
  Machine open(int64_t local_rank = 0) const;
};
// --recipe alone, for verbs whose options have a machine of their own.
void add_recipe_flag(CLI::App& verb, std::string& recipe);

// SIGINT and SIGTERM ask for a stop instead of ending the process; a second one ends it at once. Call it before the
// first thread is made.
void stop_on_signals();
// The context of a verb's calls: stopped by these signals, with `progress` to report to.
Context context_with(Progress& progress);

// Says once, on standard error, why `--device auto` does not take the GPU that is there.
void note_unused_gpu(const MachineOptions& options);

// A bar on standard error when that is a terminal; otherwise a line every few seconds. On rank 0 only.
std::unique_ptr<Progress> make_progress(const Ranks& ranks = {});

// A line for the log, unless it is empty.
inline void note(Progress& progress, const std::string& line) {
  if (!line.empty()) progress.note(line);
}

// The arguments after the program's name with the recipe's flags put in front of those on the command line, but for the
// ones given there. A recipe is the value of --recipe, or the first argument of `train` and `finetune`. Errors:
// UsageError.
std::vector<std::string> with_recipe(std::vector<std::string> arguments);

// The whole command line, quoted for a shell: what a run's report says it was made by. `main` sets it.
std::string& command_line();
std::string shell_quoted(const std::string& text);

// Adds the verb's options and what it does to `app`. One function per file of this folder.
void add_demo(CLI::App& app);
void add_caption(CLI::App& app);
void add_generate(CLI::App& app);
void add_embed(CLI::App& app);
void add_run(CLI::App& app);
void add_select(CLI::App& app);
void add_matrix(CLI::App& app);
void add_report(CLI::App& app);
void add_score(CLI::App& app);
void add_compare(CLI::App& app);
void add_export(CLI::App& app);
void add_dataset(CLI::App& app);
void add_train(CLI::App& app);
void add_finetune(CLI::App& app);
void add_describe(CLI::App& app);
void add_doctor(CLI::App& app);
void add_pull(CLI::App& app);
void add_telephone(CLI::App& app);

}  // namespace readback::cli
