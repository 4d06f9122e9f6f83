// The metrics that only sets of pictures have.
#pragma once
#include <vector>

#include "readback/score/metric.h"

namespace readback::score {

// FID (by rank in a run, and by `readback score images`), KID and the Inception Score. Apart from score/registry.h, so
// that who reads a run needs no models.
const std::vector<MetricInfo>& set_metrics();

}  // namespace readback::score
