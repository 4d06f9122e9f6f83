#include "readback/roundtrip/plan.h"

#include <algorithm>
#include <set>

#include "readback/base/error.h"

namespace readback::roundtrip {

int64_t Plan::units() const {
  return static_cast<int64_t>(samples.size() * options.directions.size()) * options.num_candidates;
}

Plan make_plan(const RunOptions& options, const data::Dataset& dataset, int64_t processes) {
  check_options(options);
  const std::set<Direction> distinct(options.directions.begin(), options.directions.end());
  if (distinct.empty() || distinct.size() != options.directions.size()) {
    throw UsageError(describe("directions", "i2t2i, t2i2t or both", distinct.empty() ? "none" : "one of them twice"));
  }
  if (dataset.size() == 0) throw DataError(describe(dataset.description(), "at least one sample", "an empty data set"));

  Plan plan{options, processes, {}, {}, caption::read_shots(options.shots)};
  std::set<std::string> ids;
  bool has_text = false, has_image = false;
  for (int64_t i = 0; i < dataset.size(); ++i) {
    plan.samples.push_back(dataset.sample(i));
    const data::Sample& sample = plan.samples.back();
    has_text |= !sample.references.empty();
    has_image |= sample.has_image();
    if (!ids.insert(sample.id).second) {
      throw DataError(describe(dataset.description(), "sample ids that differ", "\"" + sample.id + "\" twice"));
    }
  }
  if (distinct.contains(Direction::kT2I2T) && !has_text) {
    throw UsageError(describe("directions, t2i2t", "a data set with texts", dataset.description(),
                              "Put captions beside the images as NAME.txt, or give the direction i2t2i alone"));
  }
  if (distinct.contains(Direction::kI2T2I) && !has_image) {
    throw UsageError(describe("directions, i2t2i", "a data set with images", dataset.description(),
                              "Give the direction t2i2t alone"));
  }
  const int64_t samples = dataset.size();
  const int64_t step = processes * std::max<int64_t>(1, options.batch_size / options.num_candidates);
  for (int64_t first = 0; first < samples; first += step) {
    plan.groups.push_back({first, std::min(first + step, samples)});
  }
  return plan;
}

}  // namespace readback::roundtrip
