#include "readback/score/image/precision_recall.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "readback/base/error.h"

namespace readback::score {

namespace {

constexpr int64_t kBlock = 1024;  // rows whose distances are in memory at a time

// Calls `use` with the distances [block, members] of each block of `rows`.
template <typename Use>
void for_each_block(const at::Tensor& rows, const at::Tensor& members, const Use& use) {
  for (int64_t first = 0; first < rows.size(0); first += kBlock) {
    use(at::cdist(rows.narrow(0, first, std::min(kBlock, rows.size(0) - first)), members));
  }
}

// Of each member the distance to its k-th neighbour among the others, [members].
at::Tensor radii(const at::Tensor& members, int64_t k) {
  std::vector<at::Tensor> parts;
  for_each_block(members, members, [&](const at::Tensor& distances) {
    parts.push_back(std::get<0>(distances.kthvalue(k + 1, 1)));  // the nearest is itself
  });
  return at::cat(parts);
}

double share_near(const at::Tensor& rows, const at::Tensor& members, const at::Tensor& radii) {
  int64_t near = 0;
  for_each_block(rows, members,
                 [&](const at::Tensor& distances) { near += distances.le(radii).any(1).sum().item<int64_t>(); });
  return static_cast<double>(near) / static_cast<double>(rows.size(0));
}

}  // namespace

PrecisionRecall precision_recall(const at::Tensor& generated, const at::Tensor& real, int64_t k) {
  for (const at::Tensor& set : {generated, real}) {
    if (set.dim() == 2 && set.size(0) > k && set.size(1) == real.size(1)) continue;
    throw DataError(describe("precision and recall", fmt::format("more than {} features of equal width", k),
                             fmt::format("{}", fmt::join(set.sizes(), " × "))));
  }
  const at::Tensor g = generated.to(at::kDouble), r = real.to(at::kDouble);
  return {.precision = share_near(g, r, radii(r, k)), .recall = share_near(r, g, radii(g, k))};
}

}  // namespace readback::score
