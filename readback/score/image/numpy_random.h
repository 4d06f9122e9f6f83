// The legacy random numbers of numpy, for metrics whose published values depend on them.
#pragma once
#include <cstdint>
#include <random>
#include <vector>

namespace readback::score {

// numpy.random.RandomState(seed), as far as it is needed. Its generator is the standard library's.
class NumpyRandomState {
 public:
  explicit NumpyRandomState(uint32_t seed) : generator_(seed) {}
  // RandomState.permutation(n), and so the first `count` of RandomState.choice(n, count, replace=False).
  std::vector<int64_t> permutation(int64_t n);

 private:
  std::mt19937 generator_;
};

}  // namespace readback::score
