// Optimal transport: the cheapest way to carry goods from where they are to where they are wanted.
#pragma once
#include <cstdint>
#include <span>

#include "readback/base/context.h"

namespace readback::score {

// The least Σ flow(i, j) · cost(i, j) with row sums `supplies` and column sums `demands`, exact but for the rounding of
// the sums: successive shortest paths with node potentials (Ahuja, Magnanti and Orlin, Network Flows, 1993, ch. 9.7),
// in O(S · n · m) with S, the number of paths, near n + m in practice.
// supplies: [n], demands: [m], of equal sums and none negative; costs: [n, m], row by row, finite and none negative.
// Errors: Interrupted.
double transport_cost(std::span<const int64_t> supplies, std::span<const int64_t> demands,
                      std::span<const double> costs, const Context& context = {});

}  // namespace readback::score
