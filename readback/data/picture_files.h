// Samples that are held in memory: what folders and annotation files come down to.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "readback/data/dataset.h"
#include "readback/data/selection.h"

namespace readback::data {

class PictureFiles : public Dataset {
 public:
  struct Origin {
    std::string kind;                    // the layout: the description begins with it, and the digest depends on it
    std::filesystem::path shown;         // what the description names
    std::filesystem::path folder;        // where pictures are named from
    std::string what = "images";         // of which there are so many
    std::filesystem::path written = {};  // the file that lists them, where that is not `shown`
    bool is_all = true;                  // not a split of it
  };
  // `remarks`: what of the files is in no sample; empty when there is nothing.
  PictureFiles(Origin origin, std::vector<Sample> samples, std::string remarks, const DatasetOptions& options);

  int64_t size() const override { return selection_.size(); }
  Sample sample(int64_t index) const override { return at(index); }
  image::Image load_image(int64_t index) const override;
  std::string description() const override;
  std::string remarks() const override { return remarks_; }
  std::string digest() const override;
  std::filesystem::path image_file(int64_t index) const override;
  std::filesystem::path image_folder() const override {
    return origin_.is_all && size() == selection_.all() ? origin_.folder : std::filesystem::path();
  }
  std::string place(int64_t index) const override;

 private:
  const Sample& at(int64_t index) const { return samples_[static_cast<size_t>(selection_[index])]; }

  Origin origin_;
  Selection selection_;
  std::vector<Sample> samples_;
  std::string remarks_;
};

}  // namespace readback::data
