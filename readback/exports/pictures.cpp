// Pictures with their texts: beside them, in archives, and within.
#include <fmt/format.h>

#include <set>
#include <string>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/data/tar_writer.h"
#include "readback/exports/material.h"
#include "readback/image/codec.h"

namespace readback::exports {

namespace fs = std::filesystem;
using roundtrip::CandidateRow;
using roundtrip::Choice;
using roundtrip::SampleRow;

namespace {

// The file's name in the run without its ending, which differs for different samples.
std::string stem_of(const std::string& relative) { return fs::path(relative).stem().string(); }

// What a person calls the original: the last part of its id, which may be a path, where no other sample is called so;
// else its name in the run.
std::string familiar_stem(const SampleRow& sample, std::set<std::string>& taken) {
  constexpr size_t kLongest = 120;
  const fs::path id(sample.id);
  const std::string stem = (image::has_image_name(id) ? id.stem() : id.filename()).string();
  const bool fits = !stem.empty() && stem.front() != '.' && stem.size() <= kLongest && taken.insert(stem).second;
  return fits ? stem : stem_of(sample.image);
}

// A key of a WebDataset ends at its first dot.
std::string key_of(const std::string& relative) {
  std::string key;
  for (const char c : stem_of(relative)) key += c == '.' ? std::string("%2E") : std::string(1, c);
  return key;
}

std::string text_in(const nlohmann::json& options, const char* key) {
  const auto found = options.find(key);
  if (found == options.end() || found->is_null()) return "";
  return found->is_string() ? found->get<std::string>() : found->dump();
}

// What the web UI of AUTOMATIC1111 writes into its pictures, and many tools read: the prompt, the negative prompt, and
// a line of names and values.
std::string parameters(const Material& material, const std::string& prompt, const CandidateRow& row,
                       const image::Image& picture) {
  const roundtrip::Manifest& manifest = material.store.manifest();
  const nlohmann::json generation = manifest.options.value("generation", nlohmann::json::object());
  std::string text = prompt;
  if (const std::string negative = text_in(generation, "negative_prompt"); !negative.empty()) {
    text += "\nNegative prompt: " + negative;
  }
  std::vector<std::pair<std::string, std::string>> values = {{"Steps", text_in(generation, "num_inference_steps")},
                                                             {"Sampler", text_in(generation, "scheduler")},
                                                             {"CFG scale", text_in(generation, "guidance_scale")}};
  if (row.image_seed) values.emplace_back("Seed", std::to_string(*row.image_seed));
  values.emplace_back("Size", fmt::format("{}x{}", picture.width, picture.height));
  std::string model = text_in(manifest.about, "generator");
  for (char& c : model) c = c == ',' || c == '\n' ? ' ' : c;  // which end a value
  values.emplace_back("Model", model);
  values.emplace_back("Version", "readback");
  std::string line;
  for (const auto& [name, value] : values) {
    if (!value.empty()) line += (line.empty() ? "" : ", ") + name + ": " + value;
  }
  return text + "\n" + line;
}

}  // namespace

int64_t write_side_files(const Material& material, const fs::path& path) {
  std::set<std::string> taken;
  for (const Choice& choice : material.choices.kept) {
    material.context.check();
    const CandidateRow& row = material.chosen(choice);
    const std::string picture = material.picture_of(material.sample(choice), row);
    const std::string stem = material.captions() ? familiar_stem(material.sample(choice), taken) : stem_of(picture);
    const fs::path target = path / (stem + fs::path(picture).extension().string());
    material.copy_picture(picture, target);
    write_file(path / (stem + ".txt"), material.text_of(material.sample(choice), row) + "\n");
    material.context.progress().advance(1);
  }
  return std::ssize(material.choices.kept);
}

int64_t write_webdataset(const Material& material, const fs::path& path) {
  AtomicFile file(path);
  for (const Choice& choice : material.choices.kept) {
    material.context.check();
    const SampleRow& sample = material.sample(choice);
    const CandidateRow& row = material.chosen(choice);
    const std::string picture = material.picture_of(sample, row), key = key_of(picture);
    nlohmann::ordered_json about = {{"id", sample.id}, {"captions", sample.references}};
    about.update(material.told(row));
    if (!sample.truth.empty()) about["truth"] = sample.truth;
    if (!sample.domain.empty()) about["domain"] = sample.domain;
    file.append(data::tar_member(key + ".json", about.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)));
    file.append(data::tar_member(key + ".png", read_file(material.store.folder() / picture)));
    file.append(data::tar_member(key + ".txt", material.text_of(sample, row)));
    material.context.progress().advance(1);
  }
  file.append(data::tar_end());
  file.commit();
  return std::ssize(material.choices.kept);
}

int64_t write_pictures(const Material& material, const fs::path& path) {
  int64_t records = 0;
  material.for_each_sample([&](const SampleRow& sample, const std::vector<CandidateRow>& rows) {
    for (const CandidateRow& row : rows) {
      const image::Image picture = material.store.load_image(*row.image);
      const std::string prompt = material.captions() ? *row.text : sample.prompt();
      write_file(path / fs::path(*row.image).filename(),
                 image::encode_png(picture, {{"parameters", parameters(material, prompt, row, picture)}}));
      ++records;
    }
  });
  return records;
}

}  // namespace readback::exports
