// Runs to make pages of: the small world and photos, with models that understand most of what they see and say.
#pragma once
#include <filesystem>
#include <memory>

#include "readback/data/dataset.h"
#include "readback/roundtrip/store.h"

namespace readback::report::worlds {

// A folder that goes with the test. Under $READBACK_REPORTS, when that is set, it stays, to be looked at.
class Folder {
 public:
  explicit Folder(const std::string& name);
  Folder(const Folder&) = delete;
  ~Folder();
  operator const std::filesystem::path&() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
  bool keep_ = false;
};

// Executes and measures a run over `dataset` in `folder`. Scenes: the captioner says what the oracle sees and the
// generator draws what the oracle reads, each with mistakes. Photos: the captioner says one of a photo's references
// and the generator finds the photo whose references have most words in common.
roundtrip::Store make_run(const std::filesystem::path& folder, const data::Dataset& dataset, int64_t num_candidates);

// A data set whose sample at `broken` cannot be read.
std::unique_ptr<data::Dataset> with_broken(std::unique_ptr<data::Dataset> dataset, int64_t broken);

}  // namespace readback::report::worlds
