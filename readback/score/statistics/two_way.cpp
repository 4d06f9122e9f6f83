#include "readback/score/statistics/two_way.h"

#include <limits>
#include <string>
#include <vector>

#include "readback/base/error.h"

namespace readback::score {

TwoWay two_way(std::span<const double> cells, int64_t rows, int64_t columns) {
  if (rows < 1 || columns < 1 || std::ssize(cells) != rows * columns) {
    throw DataError(describe("two_way", std::to_string(rows * columns) + " cells", std::to_string(cells.size())));
  }
  std::vector<double> row_means(static_cast<size_t>(rows)), column_means(static_cast<size_t>(columns));
  double mean = 0;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      const double cell = cells[static_cast<size_t>(i * columns + j)];
      row_means[static_cast<size_t>(i)] += cell / static_cast<double>(columns);
      column_means[static_cast<size_t>(j)] += cell / static_cast<double>(rows);
      mean += cell / static_cast<double>(rows * columns);
    }
  }
  TwoWay sums;
  double all = 0;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      const double cell = cells[static_cast<size_t>(i * columns + j)];
      const double of_row = row_means[static_cast<size_t>(i)] - mean;
      const double of_column = column_means[static_cast<size_t>(j)] - mean;
      const double rest = cell - mean - of_row - of_column;
      sums.rows += of_row * of_row;
      sums.columns += of_column * of_column;
      sums.interaction += rest * rest;
      all += (cell - mean) * (cell - mean);
    }
  }
  if (!(all > 0)) {
    constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
    return {kNone, kNone, kNone};
  }
  return {sums.rows / all, sums.columns / all, sums.interaction / all};
}

}  // namespace readback::score
