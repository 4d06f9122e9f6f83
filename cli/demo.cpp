#include <fmt/format.h>

#include "readback/report/report.h"
#include "run.h"

namespace readback::cli {

void add_demo(CLI::App& app) {
  auto flags = std::make_shared<RunFlags>();
  CLI::App* verb = app.add_subcommand("demo", "There and back on the small world; ends with a page to look at");
  verb->footer(
      "Examples:\n"
      "  readback demo\n"
      "  readback demo --limit 100 --num-candidates 10 --output runs/large-demo");
  auto& options = flags->options;
  options.dataset_options.limit = 24;
  options.num_candidates = 8;
  options.generation.num_inference_steps = 20;
  options.generation.guidance_scale = 3.0;
  flags->output = "runs/demo";
  verb->add_option("--limit", options.dataset_options.limit, "Scenes of the test split")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  verb->add_option("--num-candidates", options.num_candidates, "Candidates a scene and direction")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  verb->add_option("--seed", options.seed)->capture_default_str();
  verb->add_option("--output", flags->output, "Run folder")->capture_default_str();
  add_generation_flags(*verb, options.generation);
  flags->machine.add_to(*verb);
  verb->callback([flags] {
    const roundtrip::Store store = run_roundtrip(*flags);
    const auto page = store.folder() / "report.html";
    report::write_report(store, page);
    fmt::print("{}\n", std::filesystem::absolute(page).string());
  });
}

}  // namespace readback::cli
