// What two things that stand against each other in a table each contribute to its values.
#pragma once
#include <cstdint>
#include <span>

namespace readback::score {

// Shares of the sum of squares around the mean of all cells, as in an analysis of variance of two ways without
// replication: of the rows' means, of the columns', and of what neither explains. They add up to 1; NaN where all cells
// are equal or one is NaN.
struct TwoWay {
  double rows = 0, columns = 0, interaction = 0;
};
// `cells`: row by row. Errors: DataError when there are not rows × columns of them.
TwoWay two_way(std::span<const double> cells, int64_t rows, int64_t columns);

}  // namespace readback::score
