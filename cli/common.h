// What every verb shares: the global flags, the progress bar, the way results and errors are printed.
#pragma once
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "readback/base/progress.h"
#include "readback/base/ranks.h"

namespace readback::cli {

// --device --dtype --threads --recipe, added to every verb.
struct Machine {
  std::string device = "auto", dtype = "auto";
  int threads = 0;         // 0: one per core
  int64_t local_rank = 0;  // which of the machine's CUDA devices "auto" and "cuda" mean
  std::string recipe;      // read before the flags are (with_recipe); here for --help
  void add_to(CLI::App& verb);
  c10::Device resolve_device() const;
  c10::ScalarType resolve_dtype() const;
  void apply_threads() const;
};

// Says once, on standard error, why `--device auto` does not take the GPU that is there.
void note_unused_gpu(const std::string& device, c10::Device resolved);

// A bar on standard error when that is a terminal; otherwise a line every few seconds. On rank 0 only.
std::unique_ptr<Progress> make_progress(const Ranks& ranks = {});

// The arguments after the program's name with the recipe's flags put in front of those on the command line, but for the
// ones given there. A recipe is the value of --recipe, or the first argument of `train` and `finetune`. Errors:
// UsageError.
std::vector<std::string> with_recipe(std::vector<std::string> arguments);

// `name = value` lines of every flag of `verb` but the recipe and `left_out`, given or by default: what decides a
// training's weights, to refuse a resume with other ones.
std::string resolved_flags(const CLI::App& verb, const std::vector<std::string>& left_out);

// The whole command line, quoted for a shell: what a run's report says it was made by. `main` sets it.
std::string& command_line();
std::string shell_quoted(const std::string& text);

// Adds the verb's options and what it does to `app`. One function per file of this folder.
void add_demo(CLI::App& app);
void add_caption(CLI::App& app);
void add_generate(CLI::App& app);
void add_embed(CLI::App& app);
void add_run(CLI::App& app);
void add_report(CLI::App& app);
void add_score(CLI::App& app);
void add_dataset(CLI::App& app);
void add_train(CLI::App& app);
void add_finetune(CLI::App& app);
void add_doctor(CLI::App& app);

}  // namespace readback::cli
