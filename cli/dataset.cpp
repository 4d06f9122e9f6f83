#include "readback/data/dataset.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "common.h"
#include "flags.h"
#include "readback/base/files.h"
#include "readback/data/emoji_scenes.h"
#include "readback/image/codec.h"
#include "readback/text/vocabulary.h"

namespace readback::cli {

namespace fs = std::filesystem;

namespace {

struct DatasetFlags {
  std::string dataset, output;
  data::DatasetOptions options;
  int64_t model_max_length = 32;
};

void add_source(CLI::App& verb, DatasetFlags& flags) {
  verb.add_option("DATASET", flags.dataset, data::kDatasetSpecs)->required();
  add_options(verb, flags.options);
}

void describe_dataset(const DatasetFlags& flags) {
  const auto dataset = data::open_dataset(flags.dataset, flags.options);
  fmt::print("{}\ndigest {}\n", dataset->description(), dataset->digest());
  for (int64_t i = 0; i < std::min<int64_t>(dataset->size(), 3); ++i) {
    const data::Sample sample = dataset->sample(i);
    fmt::print("{}  {}\n", sample.id, sample.image_name);
    for (const std::string& reference : sample.references) fmt::print("    {}\n", reference);
  }
}

void export_dataset(const DatasetFlags& flags) {
  const auto dataset = data::open_dataset(flags.dataset, flags.options);
  const fs::path folder = flags.output;
  const auto progress = make_progress();
  const Context context = context_with(*progress);
  progress->begin("export", dataset->size());
  std::string lines;
  for (int64_t i = 0; i < dataset->size(); ++i) {
    context.check();
    const data::Sample sample = dataset->sample(i);
    nlohmann::ordered_json line = {{"image", nullptr}, {"captions", sample.references}};
    if (sample.has_image()) {
      const std::string file = fs::path(sample.image_name).replace_extension(".png").string();
      image::save(dataset->load_image(i), folder / file);
      line["image"] = file;
    }
    lines += line.dump() + "\n";
    progress->advance(1);
  }
  write_file(folder / "captions.jsonl", lines);
  progress->end();
  fmt::print("{}\n", (folder / "captions.jsonl").string());
}

}  // namespace

void add_dataset(CLI::App& app) {
  CLI::App* verb = app.add_subcommand("dataset", "Describe or export a data set");
  verb->require_subcommand(1);
  verb->footer(
      "Examples:\n"
      "  readback dataset describe emoji-scenes --split test\n"
      "  readback dataset export emoji-scenes --limit 100 --output runs/scenes");
  auto flags = std::make_shared<DatasetFlags>();

  CLI::App* describe = verb->add_subcommand("describe", "Size, digest and the first samples");
  add_source(*describe, *flags);
  describe->callback([flags] { describe_dataset(*flags); });

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
