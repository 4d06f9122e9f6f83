// What a run teaches: its samples with the candidates that came back best and worst, as rows of batches.
#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "readback/base/ranks.h"
#include "readback/roundtrip/choices.h"
#include "readback/train/return_options.h"
#include "readback/train/unified_samples.h"

namespace readback::train {

// One sample of a run with what its candidates are worth.
struct Lesson {
  BatchRow row;                         // picture and caption of the chosen candidate
  Picture rejected_picture;             // text cycle, where there is one
  std::string rejected_caption;         // image cycle, where there is one
  std::vector<std::string> candidates;  // image cycle: all captions, in the order of their numbers
  std::vector<double> rewards;          // of these, higher is better
};

class Lessons {
 public:
  // Reads the run in `folder`. `needs`: leaves out samples that cannot teach so: all candidates rated for kGroups, a
  // rejected one for kComparisons. Errors: UsageError, StoreError; DataError when no sample is left.
  enum class Needs { kChosen, kComparisons, kGroups };
  Lessons(const std::filesystem::path& folder, roundtrip::Direction direction, const roundtrip::ChoiceOptions& options,
          Needs needs);

  int64_t size() const { return std::ssize(choices_.kept); }
  const std::string& summary() const { return summary_; }

  // Drawn by `random`, which goes into the row. `temperature`: 0: the row has one of the chosen candidates; else any,
  // drawn by softmax of the rewards' group advantages / temperature.
  Lesson draw(Random random, double temperature) const;

 private:
  struct Sample {
    roundtrip::SampleRow row;
    std::vector<roundtrip::CandidateRow> candidates;
  };
  const roundtrip::CandidateRow& candidate(const Sample& sample, int64_t number) const;
  Picture picture(const std::string& path) const;

  roundtrip::Direction direction_;
  std::shared_ptr<const roundtrip::Store> store_;
  roundtrip::Choices choices_;
  std::vector<Sample> samples_;  // by position
  std::string summary_;
};

}  // namespace readback::train
