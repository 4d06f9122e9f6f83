#include "readback/data/record_file.h"

#include <fmt/format.h>

#include <algorithm>

#include "readback/base/error.h"
#include "readback/base/lines.h"
#include "readback/data/digest.h"
#include "readback/data/layouts/layout.h"
#include "readback/image/codec.h"

namespace readback::data {

namespace {

constexpr int64_t kBlock = 32;
constexpr int64_t kWorthABar = 16 << 20;

KnownProblems& known() {
  static KnownProblems problems;
  return problems;
}

// Counts what a reader passes over.
class CountedProblems : public Problems {
 public:
  explicit CountedProblems(Problems& next) : next_(next) {}
  void error(Damage kind, const std::string& message) override {
    ++errors;
    next_.error(kind, message);
  }
  void remark(Damage kind, const std::string& message) override {
    ++remarks;
    next_.remark(kind, message);
  }
  bool checking() const override { return next_.checking(); }
  int64_t errors = 0, remarks = 0;

 private:
  Problems& next_;
};

}  // namespace

RecordFile::RecordFile(Origin origin, std::unique_ptr<RecordFormat> format, const Opening& opening)
    : origin_(std::move(origin)),
      format_(std::move(format)),
      file_(origin_.path),
      selection_(scan(opening), opening.options) {
  if (selection_.all() == 0 && !is_damaged_) {
    opening.problems.error(Damage::kWrongStructure, describe(origin_.path.string(), origin_.expected, "none"));
  }
  if (bare_ > 0 && bare_ < selection_.all()) remarks_ = counted(bare_, "image") + " without captions";
  if (remarked_ > 0) {
    remarks_ += (remarks_.empty() ? "" : ", ") + counted(remarked_, "record") + " with something passed over";
  }
}

std::string RecordFile::where(int64_t line) const { return fmt::format("{}:{}", origin_.path.string(), line); }

// One record, read and parsed; what is no sample is passed over.
bool RecordFile::Cursor::next_record(Located& located) {
  std::string record;
  while (lines_.next()) {
    const int64_t offset = lines_.offset(), line = lines_.number();
    const std::string where = file_->where(line);
    if (line <= file_->format_->lines_before()) continue;
    bool too_long = lines_.is_too_long();
    record.assign(lines_.line());
    bool open = !too_long && file_->format_->is_open(record, false);
    while (open && !too_long && lines_.next()) {
      record += '\n';
      record += lines_.line();
      too_long = lines_.is_too_long() || std::ssize(record) > LineReader::kMostBytes;
      open = file_->format_->is_open(lines_.line(), true);
    }
    if (too_long) {
      problems_->error(Damage::kTooLarge, describe(where, "a record of at most 16 MiB", "more"));
      continue;
    }
    if (open) {
      problems_->error(Damage::kCutFile, describe(where, "an end of the quotes that begin there", "the file's end"));
      continue;
    }
    if (!is_utf8(record)) {
      problems_->error(Damage::kEncoding, describe(where, "texts in UTF-8", "other bytes",
                                                   "Convert the file, for example with iconv -f latin1 -t utf-8"));
      continue;
    }
    std::optional<Sample> sample = file_->format_->parse(record, line, where, *problems_);
    if (!sample) continue;
    located = {std::move(*sample), offset, line};
    return true;
  }
  return false;
}

bool RecordFile::Cursor::next(Located& located) {
  if (ahead_) {
    located = std::move(*ahead_);
    ahead_.reset();
  } else if (!next_record(located)) {
    return false;
  }
  for (Located more; next_record(more);) {
    if (more.sample.id != located.sample.id) {
      ahead_ = std::move(more);
      break;
    }
    if (more.sample.image_name != located.sample.image_name) {
      problems_->error(Damage::kDoubledId, describe(file_->where(more.line),
                                                    "another id than line " + std::to_string(located.line) + " has",
                                                    "\"" + more.sample.id + "\" again, for another picture"));
      continue;
    }
    std::ranges::move(more.sample.references, std::back_inserter(located.sample.references));
  }
  return true;
}

int64_t RecordFile::scan(const Opening& opening) {
  CountedProblems problems(opening.problems);
  const auto& options = opening.options;
  try {
    (void)without_mark(file_.read(0, 4), origin_.path.string());
  } catch (const DataError& error) {
    problems.error(Damage::kEncoding, error.what());
    is_damaged_ = true;
    return 0;
  }
  const bool bar = file_.size() > kWorthABar;
  if (bar) opening.context.progress().begin("reading " + origin_.path.filename().string(), file_.size());
  SampleDigest digest(origin_.kind);
  const bool digested = !options.shuffle && options.shard.empty();
  int64_t count = 0, reported = 0;
  Cursor cursor(*this, 0, 1, problems);
  for (Located located; cursor.next(located); ++count) {
    if (count % kBlock == 0) {
      blocks_.emplace_back(located.offset, located.line);
      opening.context.check();
      if (bar) opening.context.progress().advance(cursor.offset() - reported);
      reported = cursor.offset();
    }
    bare_ += located.sample.has_image() && located.sample.references.empty() ? 1 : 0;
    if (digested && count >= options.first && (options.limit == 0 || count - options.first < options.limit)) {
      digest.add(located.sample);
    }
  }
  if (bar) {
    opening.context.progress().advance(file_.size() - reported);
    opening.context.progress().end();
  }
  blocks_.shrink_to_fit();
  remarked_ = problems.remarks;
  is_damaged_ = problems.errors > 0;
  if (digested) digest_ = digest.text();
  return count;
}

RecordFile::Located RecordFile::read(int64_t place) const {
  const std::lock_guard lock(mutex_);
  if (place == last_place_) return last_;
  if (cursor_place_ < 0 || cursor_place_ > place || place - cursor_place_ >= kBlock) {
    const auto& [offset, line] = blocks_.at(static_cast<size_t>(place / kBlock));
    cursor_.emplace(*this, offset, line, known());
    cursor_place_ = place / kBlock * kBlock;
  }
  Located located;
  for (bool found = true; cursor_place_ <= place; ++cursor_place_) {
    found = cursor_->next(located);
    if (!found) throw DataError(describe(origin_.path.string(), "the samples that it had when it was opened", "fewer"));
  }
  last_ = located;
  last_place_ = place;
  return located;
}

image::Image RecordFile::load_image(int64_t index) const {
  const Sample found = sample(index);
  if (found.has_image()) return image::load(origin_.images / found.image_name, image::Alpha::kOnWhite);
  throw DataError(describe(origin_.path.string() + ", " + found.id, "an image", "a text alone"));
}

std::string RecordFile::description() const {
  return fmt::format("{} {}, {}{}{}", origin_.kind, origin_.path.string(), selection_.count_of(origin_.what),
                     remarks_.empty() ? "" : "; ", remarks_);
}

std::string RecordFile::digest() const { return digest_.empty() ? digest_of(*this, origin_.kind) : digest_; }

std::filesystem::path RecordFile::image_file(int64_t index) const {
  const Sample found = sample(index);
  return found.has_image() ? origin_.images / found.image_name : std::filesystem::path();
}

std::string RecordFile::place(int64_t index) const { return where(read(selection_[index]).line); }

}  // namespace readback::data
