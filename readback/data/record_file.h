// Data sets in one file, a line or a few for each sample. Such a file may be of any size: what is kept in memory is a
// place for every 32 samples.
#pragma once
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "readback/data/dataset.h"
#include "readback/data/line_reader.h"
#include "readback/data/problems.h"
#include "readback/data/selection.h"

namespace readback::data {

struct Opening;

// How a record, which is a line or several, becomes a sample.
class RecordFormat {
 public:
  virtual ~RecordFormat() = default;
  // Whether the record goes on behind this line's end; `open`: it began before the line.
  virtual bool is_open(std::string_view /*line*/, bool /*open*/) const { return false; }
  // Nothing for a record that is passed over, or that `problems` was told of as an error. `where` is "FILE:LINE".
  virtual std::optional<Sample> parse(std::string_view record, int64_t line, const std::string& where,
                                      Problems& problems) const = 0;
  // Lines in front of the first record, a header.
  virtual int64_t lines_before() const { return 0; }
};

// Records of one id that follow each other are one sample.
class RecordFile : public Dataset {
 public:
  struct Origin {
    std::string kind;  // the layout: the description begins with it, and the digest depends on it
    std::filesystem::path path;
    std::filesystem::path images;  // where pictures are named from
    std::string what = "samples";  // of which there are so many
    std::string expected;          // what the file should hold, for messages
  };
  // Reads all of the file once. Errors: DataError, UsageError.
  RecordFile(Origin origin, std::unique_ptr<RecordFormat> format, const Opening& opening);

  int64_t size() const override { return selection_.size(); }
  Sample sample(int64_t index) const override { return read(selection_[index]).sample; }
  image::Image load_image(int64_t index) const override;
  std::string description() const override;
  std::string remarks() const override { return remarks_; }
  std::string digest() const override;
  std::filesystem::path image_file(int64_t index) const override;
  std::filesystem::path image_folder() const override {
    return size() == selection_.all() ? origin_.images : std::filesystem::path();
  }
  std::string place(int64_t index) const override;

 private:
  struct Located {
    Sample sample;
    int64_t offset = 0, line = 0;
  };
  // Samples one after the other.
  class Cursor {
   public:
    Cursor(const RecordFile& file, int64_t offset, int64_t line, Problems& problems)
        : file_(&file), lines_(file.file_, offset, line), problems_(&problems) {}
    // False at the end.
    bool next(Located& located);
    int64_t offset() const { return lines_.next_offset(); }

   private:
    bool next_record(Located& located);
    const RecordFile* file_;
    LineReader lines_;
    Problems* problems_;
    std::optional<Located> ahead_;
  };

  int64_t scan(const Opening& opening);
  Located read(int64_t place) const;  // among all samples
  std::string where(int64_t line) const;

  Origin origin_;
  std::unique_ptr<RecordFormat> format_;
  RandomFile file_;
  std::vector<std::pair<int64_t, int64_t>> blocks_;  // offset and line of every kBlock-th sample
  std::string digest_;                               // when the scan could take it
  int64_t bare_ = 0, remarked_ = 0;
  bool is_damaged_ = false;
  Selection selection_;
  std::string remarks_;
  // Reading goes on where the last ended: samples are mostly asked for in order.
  mutable std::mutex mutex_;
  mutable std::optional<Cursor> cursor_;
  mutable int64_t cursor_place_ = -1;
  mutable int64_t last_place_ = -1;
  mutable Located last_;  // the sample there, which is often asked for twice
};

}  // namespace readback::data
