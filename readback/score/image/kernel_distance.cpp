#include "readback/score/image/kernel_distance.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "readback/base/error.h"
#include "readback/score/image/numpy_random.h"

namespace readback::score {

namespace {

struct Kernel {
  double gamma, offset;
  int64_t degree;
};

// Sums of one kernel matrix K (rows of x against rows of y), a value for each subset s of rows and columns.
// members_x: [N_x, S], one where a row belongs to the subset; members_y alike. → Σ_ij members_x[i, s] K[i, j]
// members_y[j, s], [S]. The matrix is made block by block and never held as a whole.
at::Tensor subset_sums(const at::Tensor& x, const at::Tensor& y, const at::Tensor& members_x,
                       const at::Tensor& members_y, const Kernel& kernel) {
  constexpr int64_t kRows = 512;
  at::Tensor sums = at::zeros({members_x.size(1)}, x.options());
  for (int64_t begin = 0; begin < x.size(0); begin += kRows) {
    const int64_t rows = std::min(kRows, x.size(0) - begin);
    const at::Tensor values = at::mm(x.narrow(0, begin, rows), y.t()).mul_(kernel.gamma).add_(kernel.offset);
    sums += (at::mm(values.pow_(kernel.degree), members_y) * members_x.narrow(0, begin, rows)).sum(0);
  }
  return sums;
}

// Σ_i members[i, s] k(x_i, x_i)
at::Tensor diagonal_sums(const at::Tensor& x, const at::Tensor& members, const Kernel& kernel) {
  const at::Tensor diagonal = x.square().sum(1).mul_(kernel.gamma).add_(kernel.offset).pow_(kernel.degree);  // [N]
  return at::mv(members.t(), diagonal);
}

// The estimate for each subset, [S].
at::Tensor estimates(const at::Tensor& a, const at::Tensor& b, const at::Tensor& members_a, const at::Tensor& members_b,
                     const Kernel& kernel, int64_t size) {
  const at::Tensor within = subset_sums(a, a, members_a, members_a, kernel) - diagonal_sums(a, members_a, kernel) +
                            subset_sums(b, b, members_b, members_b, kernel) - diagonal_sums(b, members_b, kernel);
  const at::Tensor between = subset_sums(a, b, members_a, members_b, kernel);
  const auto m = static_cast<double>(size);
  return within / (m * (m - 1)) - between * (2 / (m * m));
}

at::Tensor membership(int64_t n, const at::Tensor& subsets) {  // [S, m] → [n, S]
  return at::zeros({subsets.size(0), n}, at::kDouble).scatter_(1, subsets, 1.0).t().contiguous();
}

void check(const at::Tensor& a, const at::Tensor& b, const KernelDistanceOptions& options) {
  if (a.dim() != 2 || b.dim() != 2 || a.size(1) != b.size(1)) {
    throw DataError(describe("kernel distance", "features of one width on both sides",
                             fmt::format("{} and {}", a.size(-1), b.size(-1))));
  }
  if (options.subset_size < 2 || options.subsets < 1) {
    throw DataError(describe("kernel distance", "at least one subset of at least 2 images",
                             fmt::format("{} subsets of {}", options.subsets, options.subset_size)));
  }
  if (const int64_t fewest = std::min(a.size(0), b.size(0)); fewest < options.subset_size) {
    throw DataError(describe("kernel distance", fmt::format("at least {} images on each side", options.subset_size),
                             std::to_string(fewest), "Use a smaller subset size"));
  }
  if (!at::isfinite(a).all().item<bool>() || !at::isfinite(b).all().item<bool>()) {
    throw DataError(describe("kernel distance", "finite features", "NaN or infinity"));
  }
}

}  // namespace

KernelDistance kernel_distance(const at::Tensor& a, const at::Tensor& b, const KernelDistanceOptions& options) {
  check(a, b, options);
  const at::Tensor x = a.to(at::kCPU, at::kDouble), y = b.to(at::kCPU, at::kDouble);
  const int64_t n_x = x.size(0), n_y = y.size(0), size = options.subset_size;
  const Kernel kernel{options.gamma.value_or(1.0 / static_cast<double>(x.size(1))), options.offset, options.degree};
  NumpyRandomState random(options.seed);
  const auto draw = [&](int64_t n) { return at::tensor(random.permutation(n), at::kLong).narrow(0, 0, size); };
  std::vector<at::Tensor> rows_x, rows_y;
  for (int64_t i = 0; i < options.subsets; ++i) {
    rows_x.push_back(draw(n_x));
    rows_y.push_back(draw(n_y));
  }
  // Either the kernel of all images once, or that of each subset by itself, whichever has fewer entries.
  const bool all_at_once = n_x * n_x + n_y * n_y + n_x * n_y <= 3 * options.subsets * size * size;
  at::Tensor values;
  if (all_at_once) {
    values = estimates(x, y, membership(n_x, at::stack(rows_x)), membership(n_y, at::stack(rows_y)), kernel, size);
  } else {
    const at::Tensor everyone = at::ones({size, 1}, at::kDouble);
    std::vector<at::Tensor> parts;
    for (size_t i = 0; i < rows_x.size(); ++i) {
      parts.push_back(
          estimates(x.index_select(0, rows_x[i]), y.index_select(0, rows_y[i]), everyone, everyone, kernel, size));
    }
    values = at::cat(parts);
  }
  return {values.mean().item<double>(), values.std(/*unbiased=*/false).item<double>()};
}

}  // namespace readback::score
