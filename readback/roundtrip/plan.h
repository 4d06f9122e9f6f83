// The work that follows from a run's options.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "readback/data/dataset.h"
#include "readback/roundtrip/options.h"

namespace readback::roundtrip {

// One group: samples that go through the models together. Groups depend on the data set, the batch size and the number
// of processes only, so that a resumed run forms the batches of an undisturbed one.
struct Group {
  int64_t first = 0, last = 0;  // positions in the data set: first … last - 1
};

struct Plan {
  RunOptions options;                 // resolved
  int64_t processes = 1;              // that share the work, each with batches of batch_size
  std::vector<data::Sample> samples;  // in the data set's order
  std::vector<Group> groups;
  std::vector<caption::Part> examples;  // that the captioner reads before every picture
  // Work keyed by (sample, direction, candidate).
  int64_t units() const;
};

// Errors: UsageError (no direction, T2I2T without a single reference text), DataError (empty data set, sample ids that
// repeat).
Plan make_plan(const RunOptions& options, const data::Dataset& dataset, int64_t processes = 1);

}  // namespace readback::roundtrip
