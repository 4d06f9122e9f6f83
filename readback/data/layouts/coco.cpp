// COCO captions and NoCaps: https://cocodataset.org/#format-data: images[] {id, file_name}, annotations[] {image_id,
// caption}; NoCaps' images have a `domain`.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>

#include "readback/base/error.h"
#include "readback/base/lines.h"
#include "readback/data/caption_file.h"
#include "readback/data/ids.h"
#include "readback/data/json_files.h"
#include "readback/data/layouts/layout.h"
#include "readback/data/layouts/table.h"
#include "readback/data/picture_files.h"

namespace readback::data {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr const char* kStructure = "COCO captions: images[] {id, file_name}, annotations[] {image_id, caption}";

class CocoReader {
 public:
  CocoReader(const Opening& opening, bool domains)
      : where_(opening.path.string()), opening_(opening), problems_(opening.problems), domains_(domains) {}

  std::vector<Sample> samples;
  std::string remarks;

  void read() {
    const std::optional<json> file = read_json_file(opening_.path, {"segmentation", "licenses"}, problems_);
    if (!file) return;
    try {
      const json &images = file->at("images"), &annotations = file->at("annotations");
      for (const json& image : images) guarded([&] { add_image(image); });
      int64_t number = 0;
      for (const json& annotation : annotations) {
        ++number;
        guarded([&] { add_caption(annotation, number); });
      }
      if (!strange_.empty() && strange_.size() == annotations.size()) {
        problems_.error(Damage::kCaptionWithoutPicture,
                        describe(where_, "captions of the images that it lists, such as " + images[0].dump(),
                                 "captions of other ids only: " + listed(strange_)));
      }
    } catch (const json::exception& error) {
      problems_.error(Damage::kWrongStructure, describe(where_, kStructure, error.what()));
    }
    if (samples.empty()) {
      problems_.error(Damage::kWrongStructure, describe(where_, "at least one image", "an empty list"));
    }
    if (const auto count = static_cast<int64_t>(strange_.size()); count > 0) {
      remarks = counted(count, "caption") + " of images that are not listed left out";
    }
    if (id_types_.size() > 1) {
      problems_.remark(Damage::kIdsOfTwoTypes,
                       describe(where_, "ids that are all numbers or all strings",
                                "both (7 and \"7\" are taken for one id here, and for two by pycocotools)"));
    }
  }

 private:
  // A record that is wrong is passed over where problems do not throw.
  void guarded(const std::function<void()>& read) {
    try {
      read();
    } catch (const json::exception& error) {
      problems_.error(Damage::kWrongStructure, describe(where_, kStructure, error.what()));
    }
  }

  std::string id(const json& value) {
    id_types_.insert(value.is_string() ? 's' : 'n');
    try {
      return id_of(value, where_);
    } catch (const DataError& error) {
      problems_.error(Damage::kWrongStructure, error.what());
      return "";
    }
  }

  void add_image(const json& image) {
    const std::string file_name = image.at("file_name");
    const auto name = checked_name(opening_.images, file_name, where_, problems_);
    if (!name) return;
    const std::string stem = fs::path(*name).stem().string();
    if (!ids_.insert(stem).second || !places_.emplace(id(image.at("id")), samples.size()).second) {
      problems_.error(Damage::kDoubledId, describe(where_, "each image once", "a second " + file_name));
      return;
    }
    samples.push_back({stem, *name, {}, ""});
    if (domains_) {
      const json domain = image.value("domain", json());
      if (domain.is_string() && !domain.get_ref<const std::string&>().empty()) {
        samples.back().domain = domain;
      } else {
        problems_.error(Damage::kWrongStructure, describe(where_ + ", " + file_name, "a domain", domain.dump()));
      }
    }
  }

  void add_caption(const json& annotation, int64_t number) {
    const std::string id = this->id(annotation.at("image_id"));
    const std::string& caption = annotation.at("caption").get_ref<const std::string&>();
    const std::string where = fmt::format("{}, annotation {}", where_, number);
    const auto place = places_.find(id);
    if (place == places_.end()) {  // files cut down to some images often keep all annotations
      strange_.push_back(id);
      problems_.remark(Damage::kCaptionWithoutPicture,
                       describe(where, "a caption of an image that the file lists", "one of id " + id));
      return;
    }
    if (is_blank(caption)) problems_.remark(Damage::kEmptyCaption, describe(where, "a caption", "nothing but blanks"));
    samples[place->second].references.push_back(caption);
  }

  std::string where_;
  const Opening& opening_;
  Problems& problems_;
  bool domains_;
  std::unordered_map<std::string, size_t> places_;  // by image id
  std::unordered_set<std::string> ids_;
  std::vector<std::string> strange_;  // ids of images that captions have and the file does not list
  std::set<char> id_types_;
};

std::unique_ptr<Dataset> open_as(const std::string& kind, const Opening& opening) {
  CocoReader reader(opening, kind == "nocaps");
  reader.read();
  require_folder(opening.images);
  refuse_unreadable_kinds(opening.images, reader.samples, opening.problems);
  return std::make_unique<PictureFiles>(
      PictureFiles::Origin{kind, opening.images, opening.images, "images", opening.path}, std::move(reader.samples),
      reader.remarks, opening.options);
}

}  // namespace

bool is_nocaps(const Look& look) { return look.has_key("images[].domain"); }
bool is_coco(const Look& look) {
  const bool lists_images = look.has_key("images[].file_name") && !look.has_key("images[].sentences");
  return !is_nocaps(look) && (lists_images || look.has_key("annotations[].caption"));
}

std::unique_ptr<Dataset> open_coco(const Opening& opening) { return open_as("coco", opening); }
std::unique_ptr<Dataset> open_nocaps(const Opening& opening) { return open_as("nocaps", opening); }

}  // namespace readback::data
