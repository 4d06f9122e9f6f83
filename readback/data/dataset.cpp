#include "readback/data/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_map>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/base/lines.h"
#include "readback/base/numbers.h"
#include "readback/base/random.h"
#include "readback/data/caption_file.h"
#include "readback/data/emoji_scenes.h"
#include "readback/data/ids.h"
#include "readback/image/codec.h"

namespace readback::data {

namespace fs = std::filesystem;

namespace {

// Over everything that identifies samples; a separator that no text contains keeps fields apart.
std::string digest_of(const Dataset& dataset, const std::string& source) {
  std::string bytes = source + '\0';
  for (int64_t i = 0; i < dataset.size(); ++i) {
    const Sample sample = dataset.sample(i);
    bytes += sample.id + '\0' + sample.truth + '\0';
    for (const std::string& reference : sample.references) bytes += reference + '\0';
    bytes += '\0';
  }
  return fmt::format("{:016x}", fnv1a(bytes));
}

// How many of `size` samples there are from options.first on, within options.limit. Errors: UsageError when there is
// none.
int64_t chosen(int64_t size, const DatasetOptions& options) {
  if (size > 0 && options.first >= size) {
    throw UsageError(describe("first_sample", "less than the " + with_commas(size) + " samples that there are",
                              with_commas(options.first)));
  }
  const int64_t rest = size - options.first;
  return options.limit > 0 ? std::min(rest, options.limit) : rest;
}

std::string count_of(int64_t used, int64_t all, const std::string& what) {
  return (used == all ? "" : with_commas(used) + " of ") + with_commas(all) + " " + what;
}

std::string counted(int64_t count, const std::string& what) {
  return with_commas(count) + " " + what + (count == 1 ? "" : "s");
}

class EmojiScenes : public Dataset {
 public:
  explicit EmojiScenes(const DatasetOptions& options)
      : split_(parse_split(options.split)),
        seed_(options.seed),
        image_size_(options.image_size),
        first_(options.first),
        size_(chosen(split_size(split_), options)) {
    render(scene(0), image_size_);  // a wrong size or a missing atlas shows here
  }

  int64_t size() const override { return size_; }
  Sample sample(int64_t index) const override {
    const std::string id = fmt::format("{}-{:05}", split_name(split_), first_ + index);
    return {id, id + ".png", captions(scene(index)), to_json(scene(index))};
  }
  image::Image load_image(int64_t index) const override { return render(scene(index), image_size_); }
  std::string description() const override {
    return fmt::format("emoji-scenes, {} split, {}", split_name(split_), count_of(size_, split_size(split_), "scenes"));
  }
  std::string digest() const override {
    return digest_of(*this, fmt::format("emoji-scenes {} {} {}", split_name(split_), seed_, image_size_));
  }

 private:
  Scene scene(int64_t index) const { return make_scene(split_, first_ + index, seed_); }

  Split split_;
  uint64_t seed_;
  int64_t image_size_, first_, size_;
};

// Those that the options leave of `samples`.
std::vector<Sample> chosen(std::vector<Sample> samples, const DatasetOptions& options) {
  const int64_t count = chosen(std::ssize(samples), options);
  samples.erase(samples.begin(), samples.begin() + options.first);
  samples.resize(static_cast<size_t>(count));
  return samples;
}

// Images in files: what folders and COCO annotations come down to.
class ImageFiles : public Dataset {
 public:
  // `remarks`: what of the files is in no sample; empty when there is nothing.
  ImageFiles(std::string kind, fs::path folder, std::vector<Sample> samples, std::string remarks,
             const DatasetOptions& options)
      : kind_(std::move(kind)),
        folder_(std::move(folder)),
        all_(static_cast<int64_t>(samples.size())),
        samples_(chosen(std::move(samples), options)),
        remarks_(std::move(remarks)) {
    const auto bare = std::ranges::count_if(samples_, [](const Sample& sample) { return sample.references.empty(); });
    if (bare == 0 || bare == size()) return;  // a folder of pictures alone is nothing to remark on
    remarks_ += (remarks_.empty() ? "" : ", ") + counted(bare, "image") + " without captions";
  }

  int64_t size() const override { return static_cast<int64_t>(samples_.size()); }
  Sample sample(int64_t index) const override { return samples_.at(static_cast<size_t>(index)); }
  image::Image load_image(int64_t index) const override {
    return image::load(folder_ / samples_.at(static_cast<size_t>(index)).image_name, image::Alpha::kOnWhite);
  }
  std::string description() const override {
    return fmt::format("{} {}, {}{}{}", kind_, folder_.string(), count_of(size(), all_, "images"),
                       remarks_.empty() ? "" : "; ", remarks_);
  }
  std::string remarks() const override { return remarks_; }
  std::string digest() const override { return digest_of(*this, kind_); }

 private:
  std::string kind_;
  fs::path folder_;
  int64_t all_;
  std::vector<Sample> samples_;
  std::string remarks_;
};

// Lines of a file, without images.
class Texts : public Dataset {
 public:
  Texts(fs::path path, std::vector<Sample> samples, const DatasetOptions& options)
      : path_(std::move(path)), all_(std::ssize(samples)), samples_(chosen(std::move(samples), options)) {}

  int64_t size() const override { return std::ssize(samples_); }
  Sample sample(int64_t index) const override { return samples_.at(static_cast<size_t>(index)); }
  image::Image load_image(int64_t index) const override {
    throw DataError(describe(path_.string() + ", " + sample(index).id, "an image", "a text alone"));
  }
  std::string description() const override {
    return fmt::format("texts {}, {}", path_.string(), count_of(size(), all_, "texts"));
  }
  std::string digest() const override { return digest_of(*this, "texts"); }

 private:
  fs::path path_;
  int64_t all_;
  std::vector<Sample> samples_;
};

void require_folder(const fs::path& folder) {
  std::error_code error;
  if (fs::is_directory(folder, error)) return;
  const bool there = fs::exists(folder, error);
  throw DataError(describe(folder.string(), "a folder of images", there ? "a file" : "nothing there"));
}

std::string read_utf8(const fs::path& path) {
  std::string text = read_text(path);
  try {
    (void)nlohmann::json(text).dump();  // stores and reports hold UTF-8 only
  } catch (const nlohmann::json::exception&) {
    throw DataError(describe(path.string(), "texts in UTF-8", "other bytes"));
  }
  return text;
}

std::vector<std::string> read_captions(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return {};
  const std::string text = read_utf8(path);
  std::vector<std::string> captions;
  for (const std::string_view line : lines_of(text)) {
    if (!is_blank(line)) captions.emplace_back(trimmed(line));
  }
  return captions;
}

std::unique_ptr<Dataset> open_folder(const fs::path& folder, const DatasetOptions& options) {
  require_folder(folder);
  std::vector<Sample> samples;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (entry->is_directory(ignored)) continue;
    image::refuse_unreadable_kind(entry->path());
    if (!image::has_image_name(entry->path())) continue;
    const std::string name = entry->path().filename().string();
    samples.push_back({name, name, read_captions(fs::path(entry->path()).replace_extension(".txt")), ""});
  }
  if (error) throw DataError(describe(folder.string(), "a readable folder", error.message()));
  if (samples.empty()) {
    throw DataError(describe(folder.string(), std::string("images: ") + image::kReadableKinds, "a folder without any"));
  }
  std::sort(samples.begin(), samples.end(), [](const Sample& a, const Sample& b) { return a.id < b.id; });
  return std::make_unique<ImageFiles>("folder", folder, std::move(samples), "", options);
}

std::unique_ptr<Dataset> open_texts(const fs::path& path, const DatasetOptions& options) {
  const std::string text = read_utf8(path);
  std::vector<Sample> samples;
  int64_t number = 0;
  for (const std::string_view line : lines_of(text)) {
    ++number;
    if (!is_blank(line)) samples.push_back({fmt::format("line-{:06}", number), "", {std::string(trimmed(line))}, ""});
  }
  if (samples.empty()) throw DataError(describe(path.string(), "texts, one a line", "none"));
  return std::make_unique<Texts>(path, std::move(samples), options);
}

// https://cocodataset.org/#format-data: images[] {id, file_name}, annotations[] {image_id, caption}.
struct CocoFile {
  std::vector<Sample> samples;
  std::string remarks;
};

CocoFile read_coco(const fs::path& path) {
  const std::string where = path.string();
  const nlohmann::json json = read_json(path);
  CocoFile file;
  std::vector<std::string> strange;  // ids of images that captions have and the file does not list
  try {
    std::unordered_map<std::string, size_t> places;  // by image id
    std::set<std::string> ids;
    for (const auto& image : json.at("images")) {
      const std::string name = image.at("file_name"), id = fs::path(name).stem().string();
      if (!ids.insert(id).second || !places.emplace(id_of(image.at("id"), where), file.samples.size()).second) {
        throw DataError(describe(where, "each image once", "a second " + name));
      }
      file.samples.push_back({id, name, {}, ""});
    }
    for (const auto& annotation : json.at("annotations")) {
      const std::string id = id_of(annotation.at("image_id"), where);
      const auto place = places.find(id);
      if (place == places.end()) {  // files cut down to some images often keep all annotations
        strange.push_back(id);
      } else {
        file.samples[place->second].references.push_back(annotation.at("caption"));
      }
    }
    if (!strange.empty() && strange.size() == json.at("annotations").size()) {
      throw DataError(describe(where, "captions of the images that it lists, such as " + json.at("images")[0].dump(),
                               "captions of other ids only: " + listed(strange)));
    }
  } catch (const nlohmann::json::exception& error) {
    throw DataError(
        describe(where, "COCO captions: images[] {id, file_name}, annotations[] {image_id, caption}", error.what()));
  }
  if (file.samples.empty()) throw DataError(describe(where, "at least one image", "an empty list"));
  if (const auto count = static_cast<int64_t>(strange.size()); count > 0) {
    file.remarks = counted(count, "caption") + " of images that are not listed left out";
  }
  return file;
}

// "ANNOTATIONS.json:IMAGES"; either path may hold colons of its own.
std::unique_ptr<Dataset> open_coco(const std::string& paths, const DatasetOptions& options) {
  const size_t json = paths.find(".json:");
  const size_t colon = json != std::string::npos ? json + 5 : paths.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == paths.size()) {
    throw UsageError(describe("DATASET", "coco:ANNOTATIONS.json:IMAGES", "coco:" + paths));
  }
  const fs::path folder = paths.substr(colon + 1);
  CocoFile file = read_coco(paths.substr(0, colon));
  require_folder(folder);
  auto dataset = std::make_unique<ImageFiles>("coco", folder, std::move(file.samples), file.remarks, options);
  for (int64_t i = 0; i < dataset->size(); ++i) image::refuse_unreadable_kind(folder / dataset->sample(i).image_name);
  return dataset;
}

}  // namespace

std::unique_ptr<Dataset> open_dataset(const std::string& spec, const DatasetOptions& options) {
  check_options(options);
  if (spec == "emoji-scenes") return std::make_unique<EmojiScenes>(options);
  if (spec.starts_with("coco:")) return open_coco(spec.substr(5), options);
  if (spec.starts_with("texts:")) return open_texts(spec.substr(6), options);
  std::error_code ignored;
  if (!fs::exists(spec, ignored)) {
    throw UsageError(describe("DATASET", kDatasetSpecs, "\"" + spec + "\"", "There is no such folder"));
  }
  return open_folder(spec, options);
}

}  // namespace readback::data
