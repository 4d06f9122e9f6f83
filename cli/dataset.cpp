#include "readback/data/dataset.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>

#include "common.h"
#include "flags.h"
#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/numbers.h"
#include "readback/data/check.h"
#include "readback/data/emoji_scenes.h"
#include "readback/data/registry.h"
#include "readback/image/codec.h"
#include "readback/text/vocabulary.h"

namespace readback::cli {

namespace fs = std::filesystem;

namespace {

struct DatasetFlags {
  std::string dataset, output, format = "text";
  data::DatasetOptions options;
  int64_t model_max_length = 32;
};

void add_source(CLI::App& verb, DatasetFlags& flags) {
  verb.add_option("DATASET", flags.dataset, data::kDatasetSpecs)->required();
  add_options(verb, flags.options);
}

void describe_dataset(const DatasetFlags& flags) {
  const auto progress = make_progress();
  const auto dataset = data::open_dataset(flags.dataset, flags.options, context_with(*progress));
  fmt::print("{}\ndigest {}\n", dataset->description(), dataset->digest());
  for (int64_t i = 0; i < std::min<int64_t>(dataset->size(), 3); ++i) {
    const data::Sample sample = dataset->sample(i);
    fmt::print("{}  {}{}\n", sample.id, sample.image_name, sample.domain.empty() ? "" : "  " + sample.domain);
    for (const std::string& reference : sample.references) fmt::print("    {}\n", reference);
  }
}

nlohmann::ordered_json to_json(const std::map<data::Damage, data::Finding>& findings) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  for (const auto& [kind, finding] : findings) {
    json[name_of(kind)] = {{"count", finding.count}, {"examples", finding.examples}};
  }
  return json;
}

int64_t print_findings(const char* what, const std::map<data::Damage, data::Finding>& findings) {
  int64_t count = 0;
  for (const auto& [kind, finding] : findings) {
    count += finding.count;
    fmt::print("{} {}: {}\n", what, name_of(kind), with_commas(finding.count));
    for (const std::string& example : finding.examples) fmt::print("    {}\n", example);
    const int64_t more = finding.count - std::ssize(finding.examples);
    if (more > 0) fmt::print("    and {} more\n", with_commas(more));
  }
  return count;
}

void check_dataset(const DatasetFlags& flags) {
  const auto progress = make_progress();
  const data::CheckReport report = data::check_dataset(flags.dataset, flags.options, context_with(*progress));
  if (flags.format == "json") {
    const nlohmann::ordered_json json = {{"layout", report.layout},           {"description", report.description},
                                         {"samples", report.samples},         {"pictures", report.pictures},
                                         {"captions", report.captions},       {"errors", to_json(report.errors)},
                                         {"remarks", to_json(report.remarks)}};
    fmt::print("{}\n", json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  } else {
    if (!report.description.empty()) fmt::print("{}\n", report.description);
    fmt::print("{} samples, {} pictures, {} captions\n", with_commas(report.samples), with_commas(report.pictures),
               with_commas(report.captions));
    print_findings("error", report.errors);
    print_findings("remark", report.remarks);
  }
  int64_t errors = 0;
  for (const auto& [kind, finding] : report.errors) errors += finding.count;
  if (errors > 0)
    throw DataError(readback::describe(flags.dataset, "a sound data set", with_commas(errors) + " errors"));
}

void list_layouts() {
  for (const data::Layout& layout : data::layouts()) {
    fmt::print("{:<14}{}\n", layout.name, layout.example);
    if (layout.recognises != nullptr)
      fmt::print("{:<14}without the name it is recognised by: {}\n", "", layout.recognised);
  }
}

// Where the picture goes in the export's folder. Two of one name that differ in their endings stay two.
std::string exported_name(const data::Sample& sample, std::set<std::string>& used) {
  std::string name = fs::path(sample.image_name).replace_extension(".png").string();
  if (!used.insert(name).second) used.insert(name = sample.image_name + ".png");
  return name;
}

void export_dataset(const DatasetFlags& flags) {
  const fs::path folder = flags.output;
  const auto progress = make_progress();
  const Context context = context_with(*progress);
  const auto dataset = data::open_dataset(flags.dataset, flags.options, context);
  progress->begin("export", dataset->size());
  AtomicFile lines(folder / "captions.jsonl");
  std::set<std::string> used;
  for (int64_t i = 0; i < dataset->size(); ++i) {
    context.check();
    const data::Sample sample = dataset->sample(i);
    nlohmann::ordered_json line = {{"id", sample.id}, {"image", nullptr}, {"captions", sample.references}};
    if (sample.has_image()) {
      const std::string file = exported_name(sample, used);
      image::save(dataset->load_image(i), folder / file);
      line["image"] = file;
    }
    if (!sample.domain.empty()) line["domain"] = sample.domain;
    if (!sample.truth.empty()) line["truth"] = sample.truth;
    lines.append(line.dump() + "\n");
    progress->advance(1);
  }
  lines.commit();
  progress->end();
  fmt::print("{}\n", (folder / "captions.jsonl").string());
}

}  // namespace

void add_dataset(CLI::App& app) {
  CLI::App* verb = app.add_subcommand("dataset", "Describe, check or export a data set");
  verb->require_subcommand(1);
  verb->footer(
      "Examples:\n"
      "  readback dataset layouts\n"
      "  readback dataset describe emoji-scenes --split test\n"
      "  readback dataset check coco:captions_val2017.json:val2017\n"
      "  readback dataset export emoji-scenes --limit 100 --output runs/scenes");
  auto flags = std::make_shared<DatasetFlags>();

  CLI::App* describe = verb->add_subcommand("describe", "Size, digest and the first samples");
  add_source(*describe, *flags);
  describe->callback([flags] { describe_dataset(*flags); });

  CLI::App* check = verb->add_subcommand("check", "What is damaged, and where; every picture is read");
  add_source(*check, *flags);
  check->add_option("--format", flags->format, "text or json")
      ->capture_default_str()
      ->check(CLI::IsMember({"text", "json"}));
  check->callback([flags] { check_dataset(*flags); });

  verb->add_subcommand("layouts", "The layouts that are read, and what each is recognised by")->callback(list_layouts);

  CLI::App* exporting = verb->add_subcommand("export", "Images as PNG and captions.jsonl");
  add_source(*exporting, *flags);
  exporting->add_option("--output", flags->output, "Folder")->required();
  exporting->callback([flags] { export_dataset(*flags); });

  CLI::App* vocabulary = verb->add_subcommand("vocabulary", "Tokenizer files of the small world's words");
  vocabulary->add_option("--model-max-length", flags->model_max_length, "Tokens that the text encoder takes")
      ->capture_default_str();
  vocabulary->add_option("--output", flags->output, "Folder; bert/ and clip/ are made in it")->required();
  vocabulary->callback([flags] {
    text::write_bert_vocabulary(fs::path(flags->output) / "bert", data::vocabulary());
    text::write_clip_vocabulary(fs::path(flags->output) / "clip", data::vocabulary(), flags->model_max_length);
  });
}

}  // namespace readback::cli
