// Karpathy's dataset_coco.json, dataset_flickr8k.json and dataset_flickr30k.json: images[] {filename, split,
// sentences[] {raw}, and for COCO filepath and cocoid}. All splits are in one file.
#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "readback/base/error.h"
#include "readback/base/lines.h"
#include "readback/data/json_files.h"
#include "readback/data/layouts/layout.h"
#include "readback/data/layouts/table.h"
#include "readback/data/picture_files.h"

namespace readback::data {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr const char* kStructure = "Karpathy's splits: images[] {filename, split, sentences[] {raw}}";

std::set<std::string> wanted_splits(const std::string& option) {
  std::set<std::string> splits;
  std::istringstream words(option);
  for (std::string word; std::getline(words, word, '+');) splits.insert(word);
  return splits;
}

class KarpathyReader {
 public:
  explicit KarpathyReader(const Opening& opening)
      : opening_(opening), problems_(opening.problems), wanted_(wanted_splits(opening.options.split)) {}

  std::vector<Sample> samples;

  void read() {
    const std::string where = opening_.path.string();
    const std::optional<json> file = read_json_file(opening_.path, {"tokens", "sentids"}, problems_);
    if (!file) return;
    try {
      for (const json& image : file->at("images")) {
        try {
          add(image, where);
        } catch (const json::exception& error) {
          problems_.error(Damage::kWrongStructure, describe(where, kStructure, error.what()));
        }
      }
    } catch (const json::exception& error) {
      problems_.error(Damage::kWrongStructure, describe(where, kStructure, error.what()));
      return;
    }
    std::string there;
    for (const auto& [split, count] : splits_)
      there += fmt::format("{}{} ({})", there.empty() ? "" : ", ", split, count);
    for (const std::string& split : wanted_) {
      if (split == "all" || splits_.contains(split)) continue;
      throw UsageError(describe("split", "one of " + there + ", several with + between them, or all",
                                "\"" + opening_.options.split + "\""));
    }
  }

 private:
  void add(const json& image, const std::string& where) {
    const std::string split = image.at("split"), file = image.at("filename");
    ++splits_[split];
    if (!wanted_.contains("all") && !wanted_.contains(split)) return;
    const fs::path path = fs::path(image.value("filepath", "")) / file;
    auto name = checked_name(opening_.images, path.string(), where, problems_);
    if (!name) return;
    // The pictures may lie in folders by year, as the file says, or all in one.
    std::error_code ignored;
    if (!fs::exists(opening_.images / *name, ignored) && fs::exists(opening_.images / file, ignored)) name = file;
    Sample sample{fs::path(file).stem().string(), *name, {}, ""};
    const std::string here = where + ", " + file;
    if (!ids_.insert(sample.id).second) {
      problems_.error(Damage::kDoubledId, describe(where, "each image once", "a second " + file));
      return;
    }
    for (const json& sentence : image.at("sentences")) {
      const std::string& caption = sentence.at("raw").get_ref<const std::string&>();
      if (is_blank(caption)) {
        problems_.remark(Damage::kEmptyCaption, describe(here, "a caption", "nothing but blanks"));
      } else {
        sample.references.emplace_back(trimmed(caption));
      }
    }
    samples.push_back(std::move(sample));
  }

  const Opening& opening_;
  Problems& problems_;
  std::set<std::string> wanted_, ids_;
  std::map<std::string, int64_t> splits_;
};

}  // namespace

bool is_karpathy(const Look& look) { return look.has_key("images[].sentences") || look.has_key("images[].split"); }

std::unique_ptr<Dataset> open_karpathy(const Opening& opening) {
  KarpathyReader reader(opening);
  reader.read();
  require_folder(opening.images);
  if (reader.samples.empty()) {
    opening.problems.error(Damage::kWrongStructure, describe(opening.path.string(), "at least one image", "none"));
  }
  refuse_unreadable_kinds(opening.images, reader.samples, opening.problems);
  return std::make_unique<PictureFiles>(
      PictureFiles::Origin{"karpathy", opening.path, opening.images, "images", {}, opening.options.split == "all"},
      std::move(reader.samples), "", opening.options);
}

}  // namespace readback::data
