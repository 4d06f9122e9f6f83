#include "readback/workflow/matrix.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "common.h"
#include "flags.h"
#include "readback/base/launch.h"
#include "run.h"
#include "score_table.h"

namespace readback::cli {

namespace {

std::string value_of(const score::Interval& interval) {
  return fmt::format("{:.4f} {}", interval.mean, interval_text(interval));
}

std::string share_of(const score::Interval& interval) {
  return fmt::format("{:.0f} % [{:.0f}, {:.0f}]", 100 * interval.mean, 100 * interval.low, 100 * interval.high);
}

// The models' names, which may be long, once; their numbers in the tables.
void print_models(const workflow::Matrix& matrix) {
  for (size_t i = 0; i < matrix.captioners.size(); ++i) fmt::print("c{}  {}\n", i + 1, matrix.captioners[i]);
  for (size_t j = 0; j < matrix.generators.size(); ++j) fmt::print("g{}  {}\n", j + 1, matrix.generators[j]);
}

void print(const workflow::MatrixTable& table) {
  const bool lower = table.metric.direction == score::Direction::kLowerIsBetter;
  fmt::print("\n{}, {} ({} is better; {} samples)\n\n", name(table.direction), table.metric.title,
             lower ? "lower" : "higher", table.samples);
  // Without the side that a quality does not depend on.
  const bool quality = table.role == roundtrip::Role::kQuality;
  const bool of_captions = quality && table.direction == roundtrip::Direction::kI2T2I,
             of_pictures = quality && !of_captions;
  std::string header = "|  |", rule = "|---|";
  for (size_t j = 0; j < table.cells.front().size(); ++j) {
    header += of_captions ? " captions |" : fmt::format(" g{} |", j + 1);
    rule += "---|";
  }
  fmt::print("{}\n{}\n", header, rule);
  for (size_t i = 0; i < table.cells.size(); ++i) {
    std::string line = of_pictures ? "| pictures |" : fmt::format("| c{} |", i + 1);
    for (const score::Interval& cell : table.cells[i]) line += fmt::format(" {} |", value_of(cell));
    fmt::print("{}\n", line);
  }
  if (!table.tests.empty()) fmt::print("\n");
  const auto cell = [&](int64_t captioner, int64_t generator) {
    const std::string name = workflow::cell_name(captioner, generator);
    return of_captions ? name.substr(0, name.find('-')) : of_pictures ? name.substr(name.find('-') + 1) : name;
  };
  for (const workflow::CellTest& cells : table.tests) {
    fmt::print("{} − {}: {}, p = {:.2g}, Holm {:.2g}\n", cell(cells.captioner_a, cells.generator_a),
               cell(cells.captioner_b, cells.generator_b), value_of(cells.test.difference), cells.test.p,
               cells.test.p_holm);
  }
  if (!table.sensitivity || std::isnan(table.sensitivity->captioner.mean)) return;
  const workflow::Sensitivity& sensitivity = *table.sensitivity;
  fmt::print("\nOf the differences between cells {} are the captioner's, {} the generator's, {} of both together",
             share_of(sensitivity.captioner), share_of(sensitivity.generator), share_of(sensitivity.interaction));
  fmt::print("; another generator reverses the order of two captioners in {} of {} cases.\n", sensitivity.reversals,
             sensitivity.pairs);
}

}  // namespace

void add_matrix(CLI::App& app) {
  struct Flags {
    workflow::MatrixOptions options;
    std::string output, recipe, format = "text";
    Flags() {
      options.captioners = {"emoji-scenes/captioner"};
      options.generators = {"emoji-scenes/generator"};
    }
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* verb = app.add_subcommand("matrix", "Who understands whom: several captioners with several generators");
  verb->footer(
      "Examples:\n"
      "  readback matrix emoji-scenes --limit 200 --captioners emoji-scenes/captioner,emoji-scenes/flamingo \\\n"
      "      --generators emoji-scenes/generator,emoji-scenes/dalle --output runs/matrix\n"
      "  readback matrix photos/ --captioners Salesforce/blip-image-captioning-base,Salesforce/blip2-opt-2.7b \\\n"
      "      --generators CompVis/stable-diffusion-v1-4,stabilityai/sd-turbo --clip openai/clip-vit-base-patch32 \\\n"
      "      --output runs/matrix\n"
      "Each captioner captions once, each generator draws the data set's texts once, and all share the results. A cell "
      "is\n"
      "a run of its own in OUTPUT/c1-g1, …, which `readback report` shows. The same command goes on where it stopped.");
  verb->add_option("DATASET", flags->options.run.dataset, data::kDatasetSpecs)->required();
  verb->add_option("--output", flags->output, "Folder of all cells, and matrix.json")->required();
  verb->add_option("--format", flags->format, "text (Markdown tables) or json")
      ->capture_default_str()
      ->check(CLI::IsMember({"text", "json"}));
  const std::string run = "run.";
  const std::set<std::string> others = {"run.dataset", "run.captioner", "run.generator"};
  add_options(
      *verb, flags->options,
      {.wanted = [=](const std::string& path, Scope scope) { return scope != Scope::kCall && !others.contains(path); },
       .group =
           [=](const std::string& path) {
             return path.starts_with(run) ? run_flag_group(path.substr(run.size())) : "Options";
           }});
  add_recipe_flag(*verb, flags->recipe);
  verb->callback([flags] {
    const auto silent = make_progress();
    const Ranks ranks(find_launch(), context_with(*silent));
    const auto progress = make_progress(ranks);
    if (ranks.is_root()) note_unused_gpu(flags->options.run.machine);
    const workflow::Matrix matrix =
        workflow::matrix(flags->options, flags->output, context_with(*progress), ranks, command_line());
    if (!ranks.is_root()) return;
    if (flags->format == "json") {
      fmt::print("{}\n", to_json(matrix).dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
    } else {
      print_models(matrix);
      for (const workflow::MatrixTable& table : matrix.tables) print(table);
    }
    std::fflush(stdout);
    expect_no_failures({.samples = matrix.samples, .failures = matrix.failures});
  });
}

}  // namespace readback::cli
