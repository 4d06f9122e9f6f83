// What a metric is given of a candidate and of what it is measured against.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "readback/base/context.h"
#include "readback/image/image.h"
#include "readback/roundtrip/direction.h"
#include "readback/roundtrip/store.h"
#include "readback/score/metric.h"

namespace readback::roundtrip {

// What a candidate is measured against. What is empty is not there: metrics that read it are not defined.
struct Original {
  const image::Image* image = nullptr;
  std::string prompt;                   // T2I2T's starting text
  std::vector<std::string> texts;       // for Inputs::kTexts: each by itself, and the mean counts
  std::vector<std::string> references;  // for those that read references: all together
  std::string truth;
};
// The sample's own, as execute.h says of measure(). I2T2I: texts and references are the sample's references; T2I2T: the
// text it began with, where there is one.
Original original_of(const SampleRow& sample, Direction direction, const image::Image* image);

bool reads_images(score::Inputs inputs);

// Values of which each may be the mean of several comparisons. Pictures and metric must outlive it.
class ComparisonBatch {
 public:
  ComparisonBatch(Direction direction, score::Inputs inputs) : direction_(direction), inputs_(inputs) {}
  // One value more: a candidate's text and picture (null: there is none, or none is read) against `original`.
  void add(const std::string& text, const image::Image* image, const Original& original);
  const std::vector<score::Comparison>& comparisons() const { return comparisons_; }
  // One value an add(), in order; none: not defined. Errors: the metric's.
  std::vector<std::optional<double>> values(score::Metric& metric, const Context& context) const;

 private:
  Direction direction_;
  score::Inputs inputs_;
  std::vector<score::Comparison> comparisons_;
  std::vector<size_t> ends_;  // one behind the last comparison of each value
};

}  // namespace readback::roundtrip
