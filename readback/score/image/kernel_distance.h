// The kernel distance of two sets of features: KID when the features are Inception's 2048
// (Bińkowski et al., ICLR 2018, https://arxiv.org/abs/1801.01401), as torch-fidelity has it.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace readback::score {

struct KernelDistanceOptions {
  int64_t subsets = 100, subset_size = 1000;
  int64_t degree = 3;
  std::optional<double> gamma;  // 1 / D unless given
  double offset = 1;
  uint32_t seed = 2020;  // of numpy's RandomState, which draws the subsets
};

struct KernelDistance {
  double mean = 0, deviation = 0;  // over the subsets; the deviation divided by the number of subsets
};

// The unbiased squared maximum mean discrepancy under k(x, y) = (gamma · xᵀy + offset)^degree, in fp64. Slightly below
// zero where the sets hardly differ. a, b: [N, D]. Errors: DataError for sets smaller than a subset, subsets of fewer
// than two images, different widths and NaN.
KernelDistance kernel_distance(const at::Tensor& a, const at::Tensor& b, const KernelDistanceOptions& options = {});

}  // namespace readback::score
