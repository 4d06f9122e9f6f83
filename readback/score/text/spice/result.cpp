#include "readback/score/text/spice/result.h"

#include <limits>

namespace readback::score {

namespace {

// In the program's own order of operations, so that the values are equal to the last bit.
double ratio(int matched, int missed) { return static_cast<double>(matched) / (matched + missed); }

bool has_value(const SpiceScore& score, SpiceCategory category) {
  const SpiceCounts& counts = score.table[static_cast<size_t>(category)];
  const bool in_references = counts.matched + counts.reference_only > 0;
  return score.failure.empty() && (in_references || category == SpiceCategory::kAll);
}

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

}  // namespace

double SpiceScore::precision(SpiceCategory category) const {
  if (!has_value(*this, category)) return kNone;
  const SpiceCounts& counts = table[static_cast<size_t>(category)];
  return counts.matched == 0 ? 0 : ratio(counts.matched, counts.candidate_only);
}

double SpiceScore::recall(SpiceCategory category) const {
  if (!has_value(*this, category)) return kNone;
  const SpiceCounts& counts = table[static_cast<size_t>(category)];
  return counts.matched == 0 ? 0 : ratio(counts.matched, counts.reference_only);
}

double SpiceScore::f(SpiceCategory category) const {
  const double pr = precision(category), re = recall(category);
  return pr == 0 || re == 0 ? 0 : 2 * (pr * re) / (pr + re);
}

}  // namespace readback::score
