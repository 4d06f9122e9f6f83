// The small world's truth as metrics: what a caption or a picture says of the scene, as the oracle reads it.
#pragma once
#include <memory>

#include "readback/score/metric.h"

namespace readback::score {

// data/oracle.h's semantic score, 0 … 1; NaN without a truth (and, for pictures, without a picture).
// `info.inputs` must be kTextTruth or kImageTruth.
std::unique_ptr<Metric> make_oracle_metric(MetricInfo info);

}  // namespace readback::score
