#include "readback/exports/export.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/exports/material.h"

namespace readback::exports {

namespace fs = std::filesystem;
using roundtrip::Direction;

namespace {

constexpr std::array kFormats = {
    Format{"jsonl",
           "A line a sample with all its candidates and their scores; the data set layout jsonl reads it",
           false,
           {},
           "export-{}.jsonl",
           write_json_lines},
    Format{"csv", "A row a candidate with its scores", false, {}, "export-{}.csv", write_csv},
    Format{"coco-results", "COCO's results file: the chosen caption of each picture", true, Direction::kI2T2I,
           "coco-results.json", write_coco_results},
    Format{"side-files",
           "Each picture with its text in a file of the same name: captions chosen for the pictures, or "
           "pictures chosen for the texts",
           true,
           {},
           "",
           write_side_files},
    Format{"webdataset",
           "The same as a tar of KEY.png, KEY.txt and KEY.json",
           true,
           {},
           "chosen-{}.tar",
           write_webdataset},
    Format{"preferences",
           "Best against worst, for DPO trainers: train/metadata.jsonl and the pictures",
           true,
           {},
           "",
           write_preferences},
    Format{"pictures",
           "Every picture that was drawn, with its prompt and parameters in the PNG as other tools read them",
           false,
           {},
           "",
           write_pictures},
};

// A folder that appears when all of it is written.
class NewFolder {
 public:
  explicit NewFolder(const fs::path& path)
      : path_(path.has_filename() ? path : path.parent_path()),  // "pairs/" is "pairs"
        partial_(path_.string() + ".partial") {
    std::error_code ignored;
    if (fs::exists(path_, ignored) && !(fs::is_directory(path_, ignored) && fs::is_empty(path_, ignored))) {
      throw StoreError(describe(path_.string(), "a folder that is not there yet, or is empty", "something in it",
                                "Name another one, or remove it"));
    }
    fs::remove_all(partial_, ignored);
  }
  ~NewFolder() {
    std::error_code ignored;
    fs::remove_all(partial_, ignored);
  }
  const fs::path& partial() const { return partial_; }
  void commit() {
    std::error_code error;
    fs::create_directories(partial_, error);  // of no sample at all
    fs::remove(path_, error);
    fs::rename(partial_, path_, error);
    if (error) throw StoreError(describe(path_.string(), "to be written", error.message()));
  }

 private:
  fs::path path_, partial_;
};

std::string own_file(const Format& format, Direction direction) {
  std::string file = format.file;
  const size_t place = file.find("{}");
  return place == std::string::npos ? file : file.replace(place, 2, name(direction));
}

}  // namespace

std::span<const Format> formats() { return kFormats; }

const Format& find_format(const std::string& name) {
  std::string names;
  for (const Format& format : kFormats) {
    if (name == format.name) return format;
    names += (names.empty() ? "" : ", ") + std::string(format.name);
  }
  throw UsageError(describe("format", "one of " + names, "\"" + name + "\""));
}

Exported export_run(const roundtrip::Store& store, Direction direction, const Format& format,
                    const ExportOptions& options, const fs::path& path, const Context& context) {
  check_options(options);
  if (std::ranges::find(store.directions(), direction) == store.directions().end()) {
    throw UsageError(
        describe(store.folder().string(), "a run with the direction " + std::string(name(direction)), "one without"));
  }
  if (format.only && *format.only != direction) {
    throw UsageError(describe(format.name, "the direction " + std::string(name(*format.only)), name(direction)));
  }
  const std::string file = own_file(format, direction);
  if (path.empty() && file.empty()) {
    throw UsageError(describe(format.name, "a folder to write to", "none", "Name one with the option output"));
  }
  Material material{store, direction, options, context, store.samples(), {}, {}, {}};
  for (roundtrip::CandidateRow& row : store.candidates(direction)) {
    if (row.complete()) material.candidates[row.key.sample].push_back(std::move(row));
  }
  for (const score::MetricInfo& metric : store.metrics()) {
    auto& values = material.scores[metric.name];
    for (const roundtrip::ScoreRow& row : store.scores(direction, metric.name)) {
      if (row.value) values[row.key] = *row.value;
    }
  }
  Exported exported{path.empty() ? store.folder() / file : path, 0, ""};
  if (format.chosen) {
    roundtrip::ChoiceOptions choice = options.choice;
    if (choice.by.empty()) choice.by = {roundtrip::default_distance(store, direction)};
    material.choices = roundtrip::choose(store, direction, choice);
    exported.choices = material.choices.summary();
  }
  context.progress().begin(std::string("export as ") + format.name,
                           format.chosen ? std::ssize(material.choices.kept) : std::ssize(material.samples));
  if (file.empty()) {
    NewFolder folder(exported.path);
    exported.records = format.write(material, folder.partial());
    folder.commit();
  } else {
    exported.records = format.write(material, exported.path);
  }
  context.progress().end();
  if (format.chosen) exported.alike = std::ssize(material.choices.kept) - exported.records;
  return exported;
}

void Material::for_each_sample(
    const std::function<void(const roundtrip::SampleRow&, const std::vector<roundtrip::CandidateRow>&)>& write) const {
  for (const roundtrip::SampleRow& sample : samples) {
    context.check();
    context.progress().advance(1);
    if (const auto found = candidates.find(sample.id); found != candidates.end()) write(sample, found->second);
  }
}

const roundtrip::SampleRow& Material::sample(const roundtrip::Choice& choice) const {
  return samples[static_cast<size_t>(choice.position)];
}

const roundtrip::CandidateRow& Material::candidate(const roundtrip::Choice& choice, int64_t number) const {
  return *std::ranges::find(candidates.at(sample(choice).id), number,
                            [](const roundtrip::CandidateRow& row) { return row.key.candidate; });
}

const roundtrip::CandidateRow& Material::chosen(const roundtrip::Choice& choice) const {
  return candidate(choice, choice.chosen.front());
}

std::string Material::picture_of(const roundtrip::SampleRow& sample, const roundtrip::CandidateRow& row) const {
  return captions() ? sample.image : *row.image;
}

std::string Material::text_of(const roundtrip::SampleRow& sample, const roundtrip::CandidateRow& row) const {
  return captions() ? *row.text : sample.prompt();
}

nlohmann::ordered_json Material::told(const roundtrip::CandidateRow& row) const {
  nlohmann::ordered_json json = {{"candidate", row.key.candidate}, {"text", *row.text}, {"image", *row.image}};
  if (row.token_ids) json["tokens"] = std::ssize(*row.token_ids);
  if (row.log_probability) json["log_probability"] = *row.log_probability;
  if (row.image_seed) json["seed"] = std::to_string(*row.image_seed);
  if (row.flagged) json["flagged"] = true;
  if (row.truncated_tokens > 0) json["truncated_tokens"] = row.truncated_tokens;
  nlohmann::ordered_json& own = json["scores"] = nlohmann::ordered_json::object();
  for (const score::MetricInfo& metric : store.metrics()) {
    const auto& values = scores.at(metric.name);
    if (const auto found = values.find(row.key); found != values.end()) own[metric.name] = found->second;
  }
  return json;
}

void Material::copy_picture(const std::string& relative, const fs::path& target) const {
  write_copy(target, store.folder() / relative);
}

nlohmann::ordered_json id_as_given(const std::string& id) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(id.data(), id.data() + id.size(), number);
  if (error == std::errc() && end == id.data() + id.size() && std::to_string(number) == id) return number;
  return id;
}

}  // namespace readback::exports
