#include "readback/data/check.h"

#include <unordered_map>
#include <unordered_set>

#include "readback/base/error.h"
#include "readback/base/random.h"
#include "readback/data/registry.h"
#include "readback/data/selection.h"
#include "readback/image/codec.h"

namespace readback::data {

namespace fs = std::filesystem;

namespace {

class NotedProblems : public Problems {
 public:
  explicit NotedProblems(CheckReport& report) : report_(report) {}
  void error(Damage kind, const std::string& message) override { note(report_.errors[kind], message); }
  void remark(Damage kind, const std::string& message) override { note(report_.remarks[kind], message); }
  bool checking() const override { return true; }

 private:
  static void note(Finding& finding, const std::string& message) {
    constexpr size_t kShown = 10;
    ++finding.count;
    if (finding.examples.size() < kShown) finding.examples.push_back(message);
  }
  CheckReport& report_;
};

class Checker {
 public:
  Checker(const Dataset& dataset, CheckReport& report, Problems& problems, const Context& context)
      : dataset_(dataset), report_(report), problems_(problems), context_(context) {}

  void operator()() {
    context_.progress().begin("checking", dataset_.size());
    for (int64_t i = 0; i < dataset_.size(); ++i) {
      context_.check();
      check(i);
      context_.progress().advance(1);
    }
    context_.progress().end();
    report_halves();
    report_pictures_that_nobody_names();
  }

 private:
  void check(int64_t index) {
    const Sample sample = dataset_.sample(index);
    ++report_.samples;
    report_.captions += std::ssize(sample.references);
    const auto [first, is_new] = places_.emplace(fnv1a(sample.id), index);
    if (!is_new && dataset_.sample(first->second).id == sample.id) {
      problems_.error(Damage::kDoubledId,
                      describe(dataset_.place(index), "an id of its own",
                               "\"" + sample.id + "\", which " + dataset_.place(first->second) + " has"));
    }
    if (!sample.has_image()) {
      without_pictures_.push_back(index);
      return;
    }
    ++report_.pictures;
    if (sample.references.empty()) without_captions_.push_back(index);
    check_picture(index);
  }

  void check_picture(int64_t index) {
    const fs::path file = dataset_.image_file(index);
    std::error_code error;
    if (!file.empty()) {
      names_.insert(fnv1a(file.lexically_normal().string()));
      if (!fs::exists(file, error)) {
        problems_.error(Damage::kMissingPicture, describe(dataset_.place(index), file.string(), "no such file"));
        return;
      }
    }
    try {
      dataset_.load_image(index);
    } catch (const DataError& failure) {
      problems_.error(Damage::kUnreadablePicture, failure.what());
    }
  }

  // Pictures alone are a data set, and texts alone, too: only some without the other are worth a word.
  void report_halves() {
    for (const int64_t index : without_captions_) {
      if (std::ssize(without_captions_) == report_.pictures) break;
      problems_.remark(Damage::kPictureWithoutCaption, describe(dataset_.place(index), "a caption", "none"));
    }
    for (const int64_t index : without_pictures_) {
      if (report_.pictures == 0) break;
      problems_.remark(Damage::kCaptionWithoutPicture, describe(dataset_.place(index), "a picture", "none"));
    }
  }

  void report_pictures_that_nobody_names() {
    std::error_code error;
    const fs::path folder = dataset_.image_folder();
    if (folder.empty() || names_.empty() || dataset_.size() == 0) return;
    for (fs::recursive_directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
      std::error_code ignored;
      if (entry.depth() > 8 || !entry->is_regular_file(ignored) || !image::has_image_name(entry->path())) continue;
      if (names_.contains(fnv1a(entry->path().lexically_normal().string()))) continue;
      problems_.remark(Damage::kPictureWithoutCaption, describe(entry->path().string(), "a picture of the data set",
                                                                "one that none of its samples names"));
    }
  }

  const Dataset& dataset_;
  CheckReport& report_;
  Problems& problems_;
  const Context& context_;
  std::unordered_map<uint64_t, int64_t> places_;  // of ids, by their hash
  std::unordered_set<uint64_t> names_;            // of files, the same
  std::vector<int64_t> without_captions_, without_pictures_;
};

}  // namespace

CheckReport check_dataset(const std::string& spec, const DatasetOptions& options, const Context& context) {
  CheckReport report;
  NotedProblems problems(report);
  try {
    const OpenedDataset opened = open_dataset(spec, options, problems, context);
    report.layout = opened.layout->name;
    if (opened.dataset == nullptr) return report;
    report.description = opened.dataset->description();
    Checker(*opened.dataset, report, problems, context)();
  } catch (const DataError& error) {  // of what is not there to be read at all
    problems.error(Damage::kWrongStructure, error.what());
  }
  return report;
}

}  // namespace readback::data
