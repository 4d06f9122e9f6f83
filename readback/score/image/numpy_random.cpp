#include "readback/score/image/numpy_random.h"

#include <bit>
#include <numeric>
#include <utility>

namespace readback::score {

std::vector<int64_t> NumpyRandomState::permutation(int64_t n) {
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  for (int64_t i = n - 1; i >= 1; --i) {
    // Uniform over 0 … i: as many low bits as i has, drawn again while they exceed it.
    const auto largest = static_cast<uint32_t>(i);
    const uint32_t mask = ~uint32_t{0} >> std::countl_zero(largest);
    uint32_t j;
    do j = generator_() & mask;
    while (j > largest);
    std::swap(order[i], order[j]);
  }
  return order;
}

}  // namespace readback::score
