// How far a message is from where it started, round by round, whatever the rounds between made of it.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "readback/base/context.h"
#include "readback/roundtrip/comparison.h"
#include "readback/roundtrip/store.h"
#include "readback/score/metric.h"

namespace readback::workflow {

// A sample's value against its own start, and against another sample's start (the floor of random pairs).
struct StartValue {
  std::optional<double> value, floor;  // none: not defined
};
using StartValues = std::map<std::string, std::map<std::string, StartValue>>;  // by metric, by sample

// Measures what a round of one direction made against the start:
//   pictures             the picture that the first round began with; without one, the first that was drawn
//   texts                I2T2I: the first caption; T2I2T: the text that the first round began with
//   references           I2T2I: the references that the first round had, without any the first caption; T2I2T: as texts
//   truths               the scene's
//   images with texts    as roundtrip::measure() does, with the first round's picture and text
class DriftMeter {
 public:
  // `first` is the first round's run; it, the metrics and the context must outlive the meter.
  DriftMeter(roundtrip::Direction direction, const roundtrip::Store& first,
             std::span<const std::unique_ptr<score::Metric>> metrics, const Context& context);

  // Of every sample of `round` that came back. `file` holds what was measured before and gets the rest as it comes:
  // {"METRIC": {"SAMPLE": [value, floor], …}, …}. A metric that fails on a sample gives it no value, which is noted.
  // Errors: StoreError, DataError (`file` is damaged), Interrupted.
  StartValues measure(const roundtrip::Store& round, const std::filesystem::path& file);

  // What the metrics that count over a whole data set take for it: every sample's references.
  static std::vector<std::vector<std::string>> corpus(roundtrip::Direction direction, const roundtrip::Store& first);

 private:
  using Pictures = std::map<std::string, image::Image>;  // by path in the first round
  roundtrip::Original start(size_t place, const Pictures& pictures) const;
  const std::string* start_picture(size_t place) const;  // null: there is none
  size_t partner(size_t place) const { return static_cast<size_t>(partners_[place]); }
  void prepare(const std::vector<roundtrip::CandidateRow>& rows, const StartValues& known);
  void measure_part(const roundtrip::Store& round, std::span<const roundtrip::CandidateRow> rows, StartValues& values);
  void measure_with(score::Metric& metric, std::span<const roundtrip::CandidateRow> rows,
                    const std::map<std::string, image::Image>& made, const Pictures& pictures, StartValues& values);

  roundtrip::Direction direction_;
  const roundtrip::Store& first_;
  std::span<const std::unique_ptr<score::Metric>> metrics_;
  const Context& context_;
  std::vector<roundtrip::SampleRow> samples_;
  std::vector<std::optional<roundtrip::CandidateRow>> begun_;  // the first round's, where it came back
  std::map<std::string, size_t> places_;                       // of samples
  std::vector<int64_t> partners_;
};

// The samples of a run that came back: complete, and no picture blanked. In the data set's order.
std::vector<roundtrip::CandidateRow> came_back(const roundtrip::Store& run, roundtrip::Direction direction);

}  // namespace readback::workflow
