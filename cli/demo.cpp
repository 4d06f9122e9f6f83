#include <fmt/format.h>

#include "flags.h"
#include "readback/report/report.h"
#include "run.h"

namespace readback::cli {

void add_demo(CLI::App& app) {
  struct Flags {
    roundtrip::RunOptions options;
    std::string output = "runs/demo", recipe;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = app.add_subcommand("demo", "There and back on the small world; ends with a page to look at");
  verb->footer(
      "Examples:\n"
      "  readback demo\n"
      "  readback demo --limit 100 --num-candidates 10 --output runs/large-demo");
  roundtrip::RunOptions& options = flags->options;
  options.dataset_options.limit = 24;
  options.num_candidates = 8;
  options.generation.num_inference_steps = 20;
  options.generation.guidance_scale = 3.0;
  verb->add_option("--output", flags->output, "Run folder")->capture_default_str();
  add_options(*verb, options,
              {.wanted =
                   [](const std::string& path, Scope scope) {
                     return scope != Scope::kCall &&
                            (path == "dataset_options.limit" || path == "num_candidates" || path == "seed" ||
                             path.starts_with("generation.") || path.starts_with("machine."));
                   },
               .group = run_flag_group});
  add_recipe_flag(*verb, flags->recipe);
  verb->callback([flags] {
    const workflow::RunResult result = run_and_tell(flags->options, flags->output);
    if (result.folder.empty()) return;
    const auto page = result.folder / "report.html";
    report::write_report(roundtrip::Store::open(result.folder), page);
    fmt::print("{}\n", std::filesystem::absolute(page).string());
    std::fflush(stdout);
    expect_no_failures(result);
  });
}

}  // namespace readback::cli
