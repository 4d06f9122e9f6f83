// WebDataset: archives of tar in which neighbours with one key, the name up to its first point, are one sample:
// KEY.jpg, KEY.txt, KEY.json. https://github.com/webdataset/webdataset
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/base/lines.h"
#include "readback/data/columns.h"
#include "readback/data/digest.h"
#include "readback/data/json_files.h"
#include "readback/data/layouts/layout.h"
#include "readback/data/layouts/table.h"
#include "readback/data/selection.h"
#include "readback/data/side_captions.h"
#include "readback/data/tar.h"
#include "readback/image/codec.h"

namespace readback::data {

namespace fs = std::filesystem;
using nlohmann::json;

namespace {

constexpr int64_t kMostText = 16 << 20, kMostPicture = 1 << 30;
constexpr int64_t kWorthABar = 256 << 20;

struct Grouped {
  std::string key;
  std::vector<std::pair<std::string, TarMember>> members;  // by what follows the key, in lower case
};

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

// Samples one after the other.
class Groups {
 public:
  Groups(const RandomFile& file, int64_t offset, Problems& problems)
      : file_(&file), tar_(file, offset), problems_(&problems) {}

  std::optional<Grouped> next() {
    Grouped group;
    while (true) {
      std::optional<TarMember> member = ahead_ ? std::move(ahead_) : tar_.next(*problems_);
      ahead_.reset();
      if (!member) break;
      const std::string where = file_->path().string() + ", " + member->name;
      if (!is_utf8(member->name)) {
        problems_->error(Damage::kEncoding, describe(file_->path().string(), "names in UTF-8", "other bytes"));
        continue;
      }
      const auto name = checked_name("", member->name, where, *problems_);
      if (!name) continue;
      const size_t slash = name->rfind('/'), base = slash == std::string::npos ? 0 : slash + 1;
      const size_t point = name->find('.', base);
      if (point == std::string::npos || point == base) continue;  // no ending, or hidden
      const std::string key = name->substr(0, point);
      if (!group.members.empty() && key != group.key) {
        ahead_ = std::move(member);
        break;
      }
      group.key = key;
      group.members.emplace_back(lower(name->substr(point + 1)), std::move(*member));
    }
    if (group.members.empty()) return std::nullopt;
    return group;
  }
  int64_t offset() const { return tar_.offset(); }

 private:
  const RandomFile* file_;
  TarReader tar_;
  Problems* problems_;
  std::optional<TarMember> ahead_;
};

const TarMember* find(const Grouped& group, std::initializer_list<const char*> endings) {
  for (const char* ending : endings) {
    for (const auto& [name, member] : group.members) {
      if (name == ending) return &member;
    }
  }
  return nullptr;
}

const std::pair<std::string, TarMember>* picture_of(const Grouped& group) {
  const auto found = std::ranges::find_if(group.members, [](const auto& member) {
    return member.first.find('.') == std::string::npos && image::has_image_name("x." + member.first);
  });
  return found == group.members.end() ? nullptr : &*found;
}

class WebDataset : public Dataset {
 public:
  WebDataset(std::string shown, std::vector<fs::path> archives, const Opening& opening)
      : shown_(std::move(shown)), columns_(opening.options.columns), archives_(std::move(archives)) {
    scan(opening);
    selection_.emplace(std::ssize(places_), opening.options);
    if (places_.empty()) {
      opening.problems.error(Damage::kWrongStructure,
                             describe(shown_, "files named KEY.jpg, KEY.txt or KEY.json", "none"));
    }
  }

  int64_t size() const override { return selection_->size(); }
  Sample sample(int64_t index) const override {
    KnownProblems known;
    const RandomFile file(archive(index));
    return *sample_of_group(group(index, file), file, known);
  }
  image::Image load_image(int64_t index) const override {
    const RandomFile file(archive(index));
    const Grouped found = group(index, file);
    const auto* picture = picture_of(found);
    if (picture == nullptr) throw DataError(describe(where(file, found), "an image", "a text alone"));
    const TarMember& member = picture->second;
    if (member.size > kMostPicture) throw DataError(describe(where(file, found), "a picture of at most 1 GiB", "more"));
    return image::decode(file.read(member.data, member.size), where(file, found) + "." + picture->first,
                         image::Alpha::kOnWhite);
  }
  std::string description() const override {
    return fmt::format("webdataset {}, {}{}{}", shown_, selection_->count_of("samples"), remarks().empty() ? "" : "; ",
                       remarks());
  }
  std::string remarks() const override {
    return bare_ > 0 && bare_ < selection_->all() ? counted(bare_, "image") + " without captions" : "";
  }
  std::string digest() const override { return digest_.empty() ? digest_of(*this, "webdataset") : digest_; }
  std::string place(int64_t index) const override {
    const RandomFile file(archive(index));
    return where(file, group(index, file));
  }

 private:
  struct Place {
    int32_t archive;
    int64_t offset;
  };

  void scan(const Opening& opening) {
    int64_t bytes = 0;
    for (const fs::path& archive : archives_) bytes += RandomFile(archive).size();
    const bool bar = bytes > kWorthABar;
    if (bar) opening.context.progress().begin("reading " + fs::path(shown_).filename().string(), bytes);
    const DatasetOptions& options = opening.options;
    const bool digested = !options.shuffle && options.shard.empty();
    SampleDigest digest("webdataset");
    for (size_t i = 0; i < archives_.size(); ++i) {
      const RandomFile file(archives_[i]);
      Groups groups(file, 0, opening.problems);
      int64_t reported = 0;
      while (const auto group = groups.next()) {
        opening.context.check();
        const auto sample = sample_of_group(*group, file, opening.problems);
        if (!sample) continue;
        const auto count = std::ssize(places_);
        places_.push_back({static_cast<int32_t>(i), group->members.front().second.header});
        bare_ += sample->has_image() && sample->references.empty() ? 1 : 0;
        if (digested && count >= options.first && (options.limit == 0 || count - options.first < options.limit)) {
          digest.add(*sample);
        }
        if (bar) opening.context.progress().advance(groups.offset() - reported);
        reported = groups.offset();
      }
      if (bar) opening.context.progress().advance(file.size() - reported);
    }
    if (bar) opening.context.progress().end();
    if (digested) digest_ = digest.text();
  }

  // Nothing for neighbours that are neither a picture nor a text.
  std::optional<Sample> sample_of_group(const Grouped& group, const RandomFile& file, Problems& problems) const {
    const std::string where = this->where(file, group);
    Sample sample{group.key, "", {}, ""};
    const auto* picture = picture_of(group);
    const TarMember* text = find(group, {"txt", "caption", "cap"});
    const TarMember* record = find(group, {"json"});
    if (picture == nullptr && text == nullptr && record == nullptr) return std::nullopt;
    if (picture != nullptr) sample.image_name = group.key + "." + picture->first;
    if (const std::string contents = text_of(text, file, where, problems); text != nullptr) {
      sample.references = captions_in(contents, where + ".txt", problems);
    }
    if (record != nullptr) read_record(sample, text_of(record, file, where, problems), where, problems);
    return sample;
  }

  static std::string text_of(const TarMember* member, const RandomFile& file, const std::string& where,
                             Problems& problems) {
    if (member == nullptr) return "";
    if (member->size <= kMostText) return file.read(member->data, member->size);
    problems.error(Damage::kTooLarge, describe(where, "a text of at most 16 MiB", std::to_string(member->size)));
    return "";
  }

  // The captions and the domain that KEY.json says, captions where no text says them.
  void read_record(Sample& sample, const std::string& text, const std::string& where, Problems& problems) const {
    json record;
    try {
      record = parse_json(text);
    } catch (const json::exception& error) {
      problems.error(is_utf8(text) ? damage_of(error) : Damage::kEncoding,
                     describe(where + ".json", "a JSON object", error.what()));
      return;
    }
    if (!record.is_object()) {
      problems.error(Damage::kWrongStructure, describe(where + ".json", "an object", record.type_name()));
      return;
    }
    for (const std::string& name : columns_.image) record.erase(name);  // what it was called before
    for (const std::string& name : columns_.id) record.erase(name);
    if (!sample.references.empty()) {
      for (const std::string& name : columns_.caption) record.erase(name);
    }
    const bool has_captions =
        std::ranges::any_of(columns_.caption, [&](const auto& name) { return record.contains(name); });
    if (!has_captions) record["caption"] = json::array();
    if (const auto said = sample_of(record, columns_, "", sample.id, where + ".json", problems)) {
      if (has_captions) sample.references = said->references;
      sample.domain = said->domain;
      sample.truth = said->truth;
    }
  }

  static std::string where(const RandomFile& file, const Grouped& group) {
    return file.path().string() + ", " + group.key;
  }
  const Place& at(int64_t index) const { return places_[static_cast<size_t>((*selection_)[index])]; }
  const fs::path& archive(int64_t index) const { return archives_[static_cast<size_t>(at(index).archive)]; }
  Grouped group(int64_t index, const RandomFile& file) const {
    KnownProblems known;
    auto group = Groups(file, at(index).offset, known).next();
    if (!group) throw DataError(describe(shown_, "the samples that it had when it was opened", "fewer"));
    return std::move(*group);
  }

  std::string shown_;
  Columns columns_;
  std::vector<fs::path> archives_;  // opened when they are read: there may be thousands
  std::vector<Place> places_;
  std::string digest_;  // when the scan could take it
  int64_t bare_ = 0;
  std::optional<Selection> selection_;
};

// "part-{000..009}.tar": the ten files. Errors: UsageError for more than a million.
std::vector<fs::path> with_ranges(const std::string& text) {
  const size_t open = text.find('{'), dots = text.find("..", open), close = text.find('}', open);
  if (open == std::string::npos || close == std::string::npos || dots > close) return {text};
  const std::string first = text.substr(open + 1, dots - open - 1), last = text.substr(dots + 2, close - dots - 2);
  const auto is_number = [](const std::string& word) {
    return !word.empty() && word.size() < 10 &&
           std::ranges::all_of(word, [](unsigned char c) { return std::isdigit(c); });
  };
  constexpr int64_t kMost = 1'000'000;
  if (!is_number(first) || !is_number(last) || std::stoll(last) < std::stoll(first) ||
      std::stoll(last) - std::stoll(first) >= kMost) {
    throw UsageError(describe("DATASET", "a range of files such as part-{000..009}.tar", text));
  }
  std::vector<fs::path> paths;
  for (int64_t i = std::stoll(first); i <= std::stoll(last); ++i) {
    const std::string name = text.substr(0, open) + fmt::format("{:0{}}", i, first.size()) + text.substr(close + 1);
    paths.emplace_back(name);
  }
  return paths;
}

}  // namespace

bool is_webdataset(const Look& look) {
  return look.is_folder ? look.has_archives && !look.has_pictures : look.path.extension() == ".tar";
}

std::unique_ptr<Dataset> open_webdataset(const Opening& opening) {
  std::error_code error;
  std::vector<fs::path> paths;
  if (fs::is_directory(opening.text, error)) {
    for (fs::directory_iterator entry(opening.text, error), end; !error && entry != end; entry.increment(error)) {
      if (entry->path().extension() == ".tar") paths.push_back(entry->path());
    }
    std::ranges::sort(paths);
  } else {
    paths = fs::exists(opening.text, error) ? std::vector<fs::path>{opening.text} : with_ranges(opening.text);
  }
  if (paths.empty()) throw DataError(describe(opening.text, "archives of tar", "a folder without any"));
  return std::make_unique<WebDataset>(opening.text, std::move(paths), opening);
}

}  // namespace readback::data
