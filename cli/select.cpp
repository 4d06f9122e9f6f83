#include "readback/workflow/select.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <set>

#include "common.h"
#include "flags.h"
#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/launch.h"
#include "readback/image/codec.h"
#include "run.h"

namespace readback::cli {

namespace fs = std::filesystem;

namespace {

struct SelectFlags {
  workflow::SelectOptions options;
  std::vector<std::string> images;
  std::string prompts, output, pictures, recipe, format = "text";
  int64_t runners_up = 2;
};

// A run that is not to be kept.
class Temporary {
 public:
  Temporary() {
    std::string name = (fs::temp_directory_path() / "readback-select-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw StoreError(describe(name, "a temporary folder", "none"));
    path_ = name;
  }
  ~Temporary() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// Files as they are, and the pictures of folders.
std::vector<std::string> files_of(const std::vector<std::string>& images) {
  std::vector<std::string> files;
  for (const std::string& image : images) {
    std::error_code ignored;
    if (!fs::is_directory(image, ignored)) {
      files.push_back(image);
      continue;
    }
    std::set<std::string> sorted;
    for (const auto& entry : fs::recursive_directory_iterator(image)) {
      if (entry.is_regular_file() && image::has_image_name(entry.path())) sorted.insert(entry.path().string());
    }
    if (sorted.empty()) {
      throw DataError(describe(image, "pictures: " + std::string(image::kReadableKinds), "a folder with none"));
    }
    files.insert(files.end(), sorted.begin(), sorted.end());
  }
  return files;
}

std::string values_of(const workflow::Selection& selection, const workflow::SelectedCandidate& candidate) {
  std::vector<std::string> values;
  for (size_t m = 0; m < selection.by.size(); ++m) {
    values.push_back(fmt::format("{} {:.4f}", selection.by[m], candidate.values[m]));
  }
  return fmt::format("{}", fmt::join(values, ", "));
}

// Captions that were said before are passed over.
void print_text(const workflow::Selection& selection, const SelectFlags& flags) {
  for (const workflow::Selected& selected : selection.samples) {
    const bool caption = selected.prompt.empty();
    fmt::print("{}\n", caption ? selected.sample : selected.prompt);
    std::set<std::string> said;
    for (size_t i = 0; i < selected.candidates.size() && std::ssize(said) <= flags.runners_up; ++i) {
      const workflow::SelectedCandidate& candidate = selected.candidates[i];
      const std::string what =
          caption ? candidate.text : fmt::format("candidate {}, read as: {}", candidate.candidate, candidate.text);
      if (!said.insert(what).second) continue;
      fmt::print("  {} {}\n      {}\n", i == 0 ? "→" : fmt::format("{}", i + 1), what, values_of(selection, candidate));
    }
  }
}

void print_json(const workflow::Selection& selection, const std::map<std::string, std::string>& written, bool kept) {
  for (const workflow::Selected& selected : selection.samples) {
    const bool caption = selected.prompt.empty();
    nlohmann::ordered_json line = {{caption ? "image" : "prompt", caption ? selected.sample : selected.prompt}};
    if (!selected.candidates.empty() && caption) line["caption"] = selected.candidates.front().text;
    if (const auto found = written.find(selected.sample); found != written.end()) line["picture"] = found->second;
    line["candidates"] = nlohmann::ordered_json::array();
    for (const workflow::SelectedCandidate& candidate : selected.candidates) {
      nlohmann::ordered_json entry = {{"candidate", candidate.candidate}, {"text", candidate.text}};
      if (kept) entry["picture"] = candidate.picture.string();
      entry["reward"] = candidate.reward;
      for (size_t m = 0; m < selection.by.size(); ++m) entry["values"][selection.by[m]] = candidate.values[m];
      line["candidates"].push_back(std::move(entry));
    }
    fmt::print("{}\n", line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
}

// PICTURES/NUMBER.png, in the order of the prompts. By sample.
std::map<std::string, std::string> write_pictures(const workflow::Selection& selection, const std::string& folder) {
  std::map<std::string, std::string> written;
  const size_t digits = std::to_string(selection.samples.size()).size();
  for (size_t i = 0; i < selection.samples.size(); ++i) {
    if (selection.samples[i].candidates.empty()) continue;
    const fs::path file = fs::path(folder) / fmt::format("{:0{}}.png", i + 1, digits);
    write_copy(file, selection.samples[i].candidates.front().picture);
    written[selection.samples[i].sample] = file.string();
  }
  return written;
}

void select(const SelectFlags& flags) {
  if (flags.images.empty() == flags.prompts.empty()) {
    throw UsageError(describe("select", "pictures, or texts by --prompts", flags.images.empty() ? "neither" : "both"));
  }
  const bool pictures = !flags.prompts.empty();
  if (pictures && flags.pictures.empty() && flags.output.empty()) {
    throw UsageError(describe("--pictures", "a folder for the pictures that are selected", "none",
                              "Name one, or a folder for the whole run with --output"));
  }
  std::optional<Temporary> temporary;
  if (flags.output.empty()) temporary.emplace();
  const fs::path folder = temporary ? temporary->path() / "run" : fs::path(flags.output);
  const auto silent = make_progress();
  const Ranks ranks(find_launch(), context_with(*silent));
  const auto progress = make_progress(ranks);
  const Context context = context_with(*progress);
  if (ranks.is_root()) note_unused_gpu(flags.options.run.machine);
  const workflow::Selection selection =
      pictures
          ? workflow::select_pictures("texts:" + flags.prompts, flags.options, folder, context, ranks, command_line())
          : workflow::select_captions(files_of(flags.images), flags.options, folder, context, ranks, command_line());
  if (!ranks.is_root()) return;
  std::map<std::string, std::string> written;
  if (pictures && !flags.pictures.empty()) written = write_pictures(selection, flags.pictures);
  tell(selection.run);
  if (flags.format == "jsonl") {
    print_json(selection, written, !temporary);
  } else {
    print_text(selection, flags);
  }
  std::fflush(stdout);
  expect_no_failures(selection.run);
}

}  // namespace

void add_select(CLI::App& app) {
  auto flags = std::make_shared<SelectFlags>();
  CLI::App* verb =
      app.add_subcommand("select", "The caption that brings a picture back, or the picture that is read as its text");
  verb->footer(
      "Examples:\n"
      "  readback select photo.jpg holiday/ --captioner Salesforce/blip-image-captioning-base \\\n"
      "      --generator stabilityai/sd-turbo --clip openai/clip-vit-base-patch32\n"
      "  readback select photo.jpg --by clip-image,likelihood --num-candidates 20 --output runs/photo\n"
      "  readback select --prompts texts.txt --by clip-text --pictures drawn/ --num-candidates 4\n"
      "  readback select photo.jpg --by clipscore --format jsonl     # without looking at what came back\n"
      "With --output the run stays: the same command goes on where it stopped, `readback report` shows all "
      "candidates,\n"
      "and `readback export` hands them on. Without, it is made in a temporary folder.");
  verb->add_option("IMAGES", flags->images, "Pictures, and folders of pictures");
  verb->add_option("--prompts", flags->prompts, "Texts to draw instead: a file with one a line");
  verb->add_option("--pictures", flags->pictures, "Folder for the picture selected for each prompt: NUMBER.png");
  verb->add_option("--output", flags->output, "Folder that keeps the run");
  verb->add_option("--runners-up", flags->runners_up, "How many to show below the first")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  verb->add_option("--format", flags->format, "text, or jsonl with all candidates")
      ->capture_default_str()
      ->check(CLI::IsMember({"text", "jsonl"}));
  const std::string run = "run.";
  const std::set<std::string> others = {"run.dataset", "run.directions", "run.metrics", "run.ceiling"};
  add_options(*verb, flags->options,
              {.wanted =
                   [=](const std::string& path, Scope scope) {
                     return scope != Scope::kCall && !others.contains(path) &&
                            !path.starts_with("run.dataset_options.");
                   },
               .group =
                   [=](const std::string& path) {
                     return path.starts_with(run) ? run_flag_group(path.substr(run.size())) : "Options";
                   }});
  add_recipe_flag(*verb, flags->recipe);
  verb->callback([flags] { select(*flags); });
}

}  // namespace readback::cli
