// Precision and recall of sets of pictures by their features' nearest neighbours (https://arxiv.org/abs/1904.06991).
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace readback::score {

struct PrecisionRecall {
  double precision = 0;  // share of generated pictures that look like real ones
  double recall = 0;  // share of real pictures that the generated ones come near to: how much of the variety is there
};

// A feature is near a set when it is no farther from one of its members than that member's k-th neighbour in the set.
// generated [G, D], real [R, D], with more than k rows each; computed in fp64. As torch-fidelity's prc.
// Errors: DataError (too few rows, other widths).
PrecisionRecall precision_recall(const at::Tensor& generated, const at::Tensor& real, int64_t k = 3);

}  // namespace readback::score
