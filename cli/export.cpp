#include "readback/exports/export.h"

#include <fmt/format.h>

#include "common.h"
#include "flags.h"
#include "readback/base/error.h"
#include "readback/base/numbers.h"

namespace readback::cli {

namespace {

struct ExportFlags {
  std::string run, format, direction, output;
  exports::ExportOptions options;
};

// The run's only direction, or the format's, where none is named.
roundtrip::Direction direction_of(const ExportFlags& flags, const exports::Format& format,
                                  const roundtrip::Store& store) {
  if (!flags.direction.empty()) return roundtrip::parse_direction(flags.direction);
  if (format.only) return *format.only;
  if (store.directions().size() == 1) return store.directions().front();
  throw UsageError(describe("--direction", "i2t2i or t2i2t, since the run has both", "none"));
}

void export_run(const ExportFlags& flags) {
  const exports::Format& format = exports::find_format(flags.format);
  const roundtrip::Store store = roundtrip::Store::open(flags.run);
  const auto progress = make_progress();
  const exports::Exported exported = exports::export_run(store, direction_of(flags, format, store), format,
                                                         flags.options, flags.output, context_with(*progress));
  if (!exported.choices.empty()) note(*progress, exported.choices);
  if (exported.alike > 0) {
    note(*progress, with_commas(exported.alike) + " samples left out: no candidate differs from the chosen one");
  }
  note(*progress, with_commas(exported.records) + " records");
  fmt::print("{}\n", exported.path.string());
}

}  // namespace

void add_export(CLI::App& app) {
  auto flags = std::make_shared<ExportFlags>();
  CLI::App* verb = app.add_subcommand("export", "A run's candidates, choices and preferences for other programs");
  std::string layouts = "Layouts:\n";
  for (const exports::Format& format : exports::formats()) {
    layouts += fmt::format("  {:<14}{}\n", format.name, format.help);
  }
  verb->footer(layouts +
               "Examples:\n"
               "  readback export runs/photos --as csv\n"
               "  readback export runs/photos --as side-files --by clip-image,likelihood --output captioned/\n"
               "  readback export runs/photos --as preferences --direction i2t2i --margin 0.05 --output pairs/\n"
               "  readback export runs/photos --as coco-results --output results.json\n"
               "Paths in records are relative to the run; `jsonl:RUN/export-i2t2i.jsonl:RUN` is a data set again.");
  verb->add_option("RUN", flags->run, "Folder of a run")->required();
  std::vector<std::string> names;
  for (const exports::Format& format : exports::formats()) names.emplace_back(format.name);
  verb->add_option("--as", flags->format, "Layout")->required()->check(CLI::IsMember(names));
  verb->add_option("--direction", flags->direction, "i2t2i or t2i2t; needed where run and layout have both")
      ->check(CLI::IsMember({"i2t2i", "t2i2t"}));
  verb->add_option("--output", flags->output, "File, or folder; files go into the run's folder where none is named");
  add_options(*verb, flags->options, {.group = [](const std::string& path) {
    return path.starts_with("choice.") ? std::string("Which candidates") : std::string("Options");
  }});
  verb->callback([flags] { export_run(*flags); });
}

}  // namespace readback::cli
