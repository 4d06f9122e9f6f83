#include <fmt/format.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>

#include "common.h"
#include "flags.h"
#include "readback/base/files.h"
#include "readback/caption/open.h"
#include "readback/caption/shots.h"
#include "readback/generate/open.h"
#include "readback/image/codec.h"
#include "readback/roundtrip/accuracy.h"
#include "score.h"
#include "score_table.h"

namespace readback::cli {

namespace fs = std::filesystem;

namespace {

// Of a generator that does not say itself how it is best used; docs/SMALL_WORLD.md's tables are measured so.
constexpr int64_t kSteps = 25;
constexpr double kGuidance = 3;

struct ScenesFlags {
  MachineFlags machine;
  roundtrip::AccuracyOptions options;
  std::string captioner = "emoji-scenes/captioner", generator = "emoji-scenes/generator", split = "test", shots,
              format = "text", output;
  bool no_captioner = false, no_generator = false;
};

std::string percent(const score::Interval& interval) {
  return fmt::format("{:.1f} [{:.1f}, {:.1f}]", 100 * interval.mean, 100 * interval.low, 100 * interval.high);
}

void print(const std::vector<roundtrip::SceneAccuracy>& rows, const ScenesFlags& flags) {
  if (flags.format == "json") {
    nlohmann::ordered_json result = nlohmann::ordered_json::array();
    for (const auto& row : rows) {
      result.push_back({{"model", row.model},
                        {"split", flags.split},
                        {"scenes", row.scenes},
                        {"objects", to_json(row.objects)},
                        {"relation", to_json(row.relation)},
                        {"background", to_json(row.background)},
                        {"all", to_json(row.all)},
                        {"semantic", to_json(row.semantic)}});
    }
    fmt::print("{}\n", result.dump(2));
    return;
  }
  fmt::print("| model | split | scenes | n | objects | relation | background | all right |\n");
  fmt::print("|---|---|---|---|---|---|---|---|\n");
  for (const auto& row : rows) {
    fmt::print("| {} | {} | {} | {} | {} | {} | {} | **{}** |\n", row.model, flags.split, row.scenes, row.all.count,
               percent(row.objects), percent(row.relation), percent(row.background), percent(row.all));
  }
}

// OUTPUT/captioner.jsonl and OUTPUT/generator.jsonl, a line for each scene, and the pictures in OUTPUT/pictures.
class Answers {
 public:
  explicit Answers(fs::path folder) : folder_(std::move(folder)) {}

  void add(const roundtrip::SceneAnswer& answer) {
    nlohmann::ordered_json line = {{"image", answer.image},
                                   {"scenes", answer.single ? "single" : "pair"},
                                   {"objects", answer.accuracy.objects},
                                   {"relation", answer.accuracy.relation},
                                   {"background", answer.accuracy.background},
                                   {"all", answer.accuracy.all},
                                   {"semantic", answer.accuracy.semantic}};
    if (answer.picture.pixels.empty()) {
      line["caption"] = answer.caption;
    } else {
      image::save(answer.picture, folder_ / "pictures" / answer.image);
    }
    lines_[answer.model] += line.dump() + "\n";
  }

  void write() const {
    for (const auto& [model, lines] : lines_) write_file(folder_ / (model + ".jsonl"), lines);
  }

 private:
  fs::path folder_;
  std::map<std::string, std::string> lines_;  // by model
};

void score_scenes(ScenesFlags& flags) {
  const Machine machine = flags.machine.open();
  flags.options.split = data::parse_split(flags.split);
  Answers answers(flags.output);
  if (!flags.output.empty()) {
    flags.options.on_answer = [&answers](const roundtrip::SceneAnswer& answer) { answers.add(answer); };
  }
  const auto progress = make_progress();
  std::vector<roundtrip::SceneAccuracy> rows;
  if (!flags.no_captioner) {
    const auto captioner = caption::open(flags.captioner, machine);
    flags.options.examples = caption::read_shots(flags.shots);
    caption::expect_examples_taken(flags.options.examples, *captioner);
    rows = roundtrip::captioner_accuracy(*captioner, flags.options, context_with(*progress));
  }
  if (!flags.no_generator) {
    const auto generator = generate::open(flags.generator, machine);
    if (generator->defaults_rule().empty()) {
      generate::GenerationOptions& asked = flags.options.generation;
      asked.num_inference_steps = asked.num_inference_steps.value_or(kSteps);
      asked.guidance_scale = asked.guidance_scale.value_or(kGuidance);
    }
    const auto more = roundtrip::generator_accuracy(*generator, flags.options, context_with(*progress));
    rows.insert(rows.end(), more.begin(), more.end());
  }
  answers.write();
  print(rows, flags);
}

}  // namespace

void add_score_scenes(CLI::App& score) {
  auto flags = std::make_shared<ScenesFlags>();
  CLI::App* scenes = score.add_subcommand(
      "scenes", fmt::format("Share of scenes that a captioner and a generator get right, by the oracle.\n"
                            "A generator takes its own steps and guidance where it names them, "
                            "else {} steps and guidance {}.",
                            kSteps, kGuidance));
  scenes->add_option("--captioner", flags->captioner, "Repository")->capture_default_str();
  scenes->add_option("--generator", flags->generator, "Repository")->capture_default_str();
  scenes->add_option("--shots", flags->shots, caption::kShotsHelp);
  scenes->add_flag("--no-captioner", flags->no_captioner, "Leave the captioner out");
  scenes->add_flag("--no-generator", flags->no_generator, "Leave the generator out");
  scenes->add_option("--split", flags->split, "train, validation, test or novel-pairs")->capture_default_str();
  scenes->add_option("--limit", flags->options.limit, "The first N scenes; 0: all")->capture_default_str();
  scenes->add_option("--batch-size", flags->options.batch_size)->capture_default_str()->check(CLI::PositiveNumber);
  scenes->add_option("--output", flags->output, "Folder for every scene's caption, picture and accuracy");
  scenes->add_option("--format", flags->format, "text (a Markdown table) or json")
      ->capture_default_str()
      ->check(CLI::IsMember({"text", "json"}));
  add_options(*scenes, flags->options.reading,
              {.wanted = [](const std::string&, Scope scope) { return scope != Scope::kCall; },
               .group = [](const std::string&) { return "Captions"; }});
  add_options(*scenes, flags->options.generation,
              {.wanted = [](const std::string& path, Scope) { return path != "latents_only"; },
               .group = [](const std::string&) { return "Pictures"; }});
  flags->machine.add_to(*scenes);
  scenes->callback([flags] { score_scenes(*flags); });
}

}  // namespace readback::cli
