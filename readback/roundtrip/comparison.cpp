#include "readback/roundtrip/comparison.h"

#include <cmath>

#include "readback/score/statistics/bootstrap.h"

namespace readback::roundtrip {

using score::Comparison;
using score::Inputs;

Original original_of(const SampleRow& sample, Direction direction, const image::Image* image) {
  const std::vector<std::string> targets = direction == Direction::kI2T2I || sample.references.empty()
                                               ? sample.references
                                               : std::vector<std::string>{sample.prompt()};
  return {image, sample.prompt(), targets, targets, sample.truth};
}

bool reads_images(Inputs inputs) {
  return inputs == Inputs::kImages || inputs == Inputs::kImageTruth || inputs == Inputs::kImageText ||
         inputs == Inputs::kImageTextReferences;
}

void ComparisonBatch::add(const std::string& text, const image::Image* image, const Original& original) {
  Comparison comparison;
  comparison.candidate_image = image;
  comparison.original_image = original.image;
  comparison.candidate_text = text;
  comparison.truth = original.truth;
  if (inputs_ == Inputs::kReferences) comparison.references = original.references;
  // Of an image and a text, one is the intermediate result and the other what it was made from.
  if (inputs_ == Inputs::kImageText || inputs_ == Inputs::kImageTextReferences) {
    if (direction_ == Direction::kI2T2I) {
      comparison.candidate_image = nullptr;
      if (inputs_ == Inputs::kImageTextReferences) comparison.references = original.references;
    } else {
      comparison.original_image = nullptr;
      comparison.original_text = original.prompt;
    }
  }
  if (inputs_ == Inputs::kTexts && !original.texts.empty()) {
    for (const std::string& target : original.texts) {
      comparison.original_text = target;
      comparisons_.push_back(comparison);
    }
  } else {
    comparisons_.push_back(std::move(comparison));
  }
  ends_.push_back(comparisons_.size());
}

std::vector<std::optional<double>> ComparisonBatch::values(score::Metric& metric, const Context& context) const {
  const std::vector<double> scored = metric.score(comparisons_, context);
  std::vector<std::optional<double>> result;
  size_t begin = 0;
  for (const size_t end : ends_) {
    const double mean = score::mean(std::span(scored).subspan(begin, end - begin));
    result.push_back(std::isnan(mean) ? std::nullopt : std::optional(mean));
    begin = end;
  }
  return result;
}

}  // namespace readback::roundtrip
