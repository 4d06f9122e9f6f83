// readback: do a captioner and a generator understand each other?
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "common.h"
#include "readback/base/error.h"
#include "readback/base/memory.h"
#include "readback/version.h"

namespace {

constexpr int kDone = 0, kFailed = 1, kUsage = 2, kInterrupted = 130;

}  // namespace

int main(int argc, char** argv) {
  readback::keep_freed_memory();
  readback::cli::stop_on_signals();
  CLI::App app("readback: do a captioner and a generator understand each other?", "readback");
  app.set_version_flag("--version", "readback " READBACK_VERSION);
  app.require_subcommand(1);
  readback::cli::add_demo(app);
  readback::cli::add_caption(app);
  readback::cli::add_generate(app);
  readback::cli::add_embed(app);
  readback::cli::add_run(app);
  readback::cli::add_select(app);
  readback::cli::add_matrix(app);
  readback::cli::add_report(app);
  readback::cli::add_score(app);
  readback::cli::add_compare(app);
  readback::cli::add_export(app);
  readback::cli::add_dataset(app);
  readback::cli::add_train(app);
  readback::cli::add_finetune(app);
  readback::cli::add_describe(app);
  readback::cli::add_doctor(app);
  readback::cli::add_pull(app);
  readback::cli::add_telephone(app);
  readback::cli::command_line() = "readback";
  for (int i = 1; i < argc; ++i) readback::cli::command_line() += " " + readback::cli::shell_quoted(argv[i]);
  try {
    std::vector<std::string> arguments = readback::cli::with_recipe({argv + 1, argv + argc});
    std::reverse(arguments.begin(), arguments.end());  // the order that CLI11 takes them in
    app.parse(std::move(arguments));
    return kDone;
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kUsage;
  } catch (const readback::UsageError& error) {
    fmt::print(stderr, "readback: {}\n", error.what());
    return kUsage;
  } catch (const readback::Interrupted&) {
    fmt::print(stderr, "readback: interrupted; run the same command again to go on where it stopped\n");
    return kInterrupted;
  } catch (const std::exception& error) {
    fmt::print(stderr, "readback: {}\n", error.what());
    return kFailed;
  }
}
