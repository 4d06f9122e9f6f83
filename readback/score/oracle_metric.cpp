#include "readback/score/oracle_metric.h"

#include <limits>

#include "readback/data/oracle.h"

namespace readback::score {

namespace {

class OracleMetric : public Metric {
 public:
  explicit OracleMetric(MetricInfo info) : info_(std::move(info)) {}
  const MetricInfo& info() const override { return info_; }

  std::vector<double> score(std::span<const Comparison> comparisons, const Context& /*context*/) override {
    const bool of_text = info_.inputs == Inputs::kTextTruth;
    std::vector<double> values;
    const image::Image* previous = nullptr;  // the same picture against another scene: read once
    data::Reading reading;
    for (const Comparison& comparison : comparisons) {
      values.push_back(std::numeric_limits<double>::quiet_NaN());
      if (comparison.truth.empty() || (!of_text && !comparison.candidate_image)) continue;
      if (of_text) {
        reading = data::parse_caption(comparison.candidate_text);
      } else if (comparison.candidate_image != previous) {
        reading = data::read_image(*comparison.candidate_image);
        previous = comparison.candidate_image;
      }
      values.back() = data::compare(data::scene_from_json(comparison.truth), reading).semantic;
    }
    return values;
  }

 private:
  MetricInfo info_;
};

}  // namespace

std::unique_ptr<Metric> make_oracle_metric(MetricInfo info) { return std::make_unique<OracleMetric>(std::move(info)); }

}  // namespace readback::score
