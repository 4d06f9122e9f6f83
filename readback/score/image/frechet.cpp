#include "readback/score/image/frechet.h"

#include <ATen/ATen.h>
#include <c10/util/StringUtil.h>
#include <fmt/format.h>

#include <map>

#include "readback/base/error.h"
#include "readback/checkpoint/safetensors.h"

namespace readback::score {

void GaussianAccumulator::add(const at::Tensor& features) {
  if (features.dim() != 2 || (n_ > 0 && features.size(1) != mean_.size(0))) {
    const std::string expected = n_ > 0 ? fmt::format("[B, {}]", mean_.size(0)) : "[B, D]";
    throw DataError(describe("features", expected, c10::str(features.sizes())));
  }
  const int64_t count = features.size(0);
  if (count == 0) return;
  const at::Tensor x = features.to(at::kCPU, at::kDouble);
  if (!at::isfinite(x).all().item<bool>()) throw DataError(describe("features", "finite numbers", "NaN or infinity"));
  const at::Tensor mean = x.mean(0), centred = x - mean;
  const at::Tensor scatter = at::mm(centred.t(), centred);
  if (n_ == 0) {
    mean_ = mean;
    scatter_ = scatter;
  } else {
    const at::Tensor shift = mean - mean_;
    const double share = static_cast<double>(count) / static_cast<double>(n_ + count);
    scatter_ += scatter + at::outer(shift, shift) * (static_cast<double>(n_) * share);
    mean_ = mean_ + shift * share;
  }
  n_ += count;
}

GaussianStatistics GaussianAccumulator::finish(std::string source) const {
  if (n_ < 2) {
    throw DataError(describe("Fréchet distance", "at least 2 images on each side", std::to_string(n_)));
  }
  return {mean_.clone(), scatter_ / static_cast<double>(n_ - 1), n_, std::move(source)};
}

GaussianStatistics gaussian_statistics(const at::Tensor& features, std::string source) {
  GaussianAccumulator accumulator;
  accumulator.add(features);
  return accumulator.finish(std::move(source));
}

void save_statistics(const GaussianStatistics& statistics, const std::filesystem::path& path) {
  checkpoint::save_safetensors(
      {{"mu", statistics.mu}, {"sigma", statistics.sigma}, {"n", at::tensor(statistics.n, at::kLong)}}, path,
      {{"source", statistics.source}});
}

GaussianStatistics load_statistics(const std::filesystem::path& path) {
  std::map<std::string, std::string> metadata;
  const checkpoint::TensorMap tensors = checkpoint::load_safetensors(path, &metadata);
  const auto tensor = [&](const char* name) {
    const auto found = tensors.find(name);
    if (found == tensors.end()) throw DataError(describe(path.string(), fmt::format("a tensor '{}'", name), "none"));
    return found->second;
  };
  GaussianStatistics statistics{tensor("mu").to(at::kDouble), tensor("sigma").to(at::kDouble), 0, metadata["source"]};
  const at::Tensor n = tensor("n");
  const at::Tensor& mu = statistics.mu;
  if (mu.dim() != 1 || statistics.sigma.sizes() != at::IntArrayRef({mu.numel(), mu.numel()}) || n.numel() != 1) {
    throw DataError(describe(path.string(), "mu [D], sigma [D, D] and n",
                             c10::str(mu.sizes(), ", ", statistics.sigma.sizes(), " and ", n.sizes())));
  }
  statistics.n = n.item<int64_t>();
  return statistics;
}

namespace {

// tr (Σ_a Σ_b)^½: with Σ_a = F Fᵀ, the eigenvalues of Σ_a Σ_b other than zero are those of Fᵀ Σ_b F, which is
// symmetric. F has as many columns as Σ_a has rank, so that few samples also take little time.
double trace_of_root(const at::Tensor& a, const at::Tensor& b) {
  const auto [values, vectors] = at::linalg_eigh(a);  // ascending
  const double largest = values[-1].item<double>();
  if (largest <= 0) return 0;
  const double floor = largest * static_cast<double>(a.size(0)) * std::numeric_limits<double>::epsilon();
  const int64_t rank = (values > floor).sum().item<int64_t>(), first = a.size(0) - rank;
  const at::Tensor factor = vectors.narrow(1, first, rank) * values.narrow(0, first, rank).sqrt();  // [D, rank]
  return at::linalg_eigvalsh(at::mm(factor.t(), at::mm(b, factor))).clamp_min(0).sqrt().sum().item<double>();
}

}  // namespace

double frechet_distance(const GaussianStatistics& a, const GaussianStatistics& b) {
  if (a.mu.sizes() != b.mu.sizes()) {
    throw DataError(describe("Fréchet distance", "features of one width on both sides",
                             fmt::format("{} and {}", a.mu.numel(), b.mu.numel())));
  }
  if (!a.source.empty() && !b.source.empty() && a.source != b.source) {
    throw DataError(describe("Fréchet distance", "the same features on both sides",
                             fmt::format("'{}' and '{}'", a.source, b.source),
                             "Compute the statistics of both sides with the same weights and preprocessing"));
  }
  const double means = (a.mu - b.mu).square().sum().item<double>();
  const double traces = a.sigma.trace().item<double>() + b.sigma.trace().item<double>();
  // Fewer samples, lower rank: the factorised side decides the cost.
  const double root = a.n <= b.n ? trace_of_root(a.sigma, b.sigma) : trace_of_root(b.sigma, a.sigma);
  return means + traces - 2 * root;
}

double frechet_distance(const at::Tensor& a, const at::Tensor& b) {
  const int64_t most = a.dim() == 2 && b.dim() == 2 ? std::max(a.size(0), b.size(0)) : 0;
  if (most == 0 || a.size(1) != b.size(1) || most > a.size(1) || std::min(a.size(0), b.size(0)) < 2) {
    return frechet_distance(gaussian_statistics(a), gaussian_statistics(b));
  }
  // Σ_a = AᵀA and Σ_b = BᵀB with centred, scaled rows: the eigenvalues of Σ_a Σ_b other than zero are the squares of
  // the singular values of A Bᵀ.
  const auto centred = [](const at::Tensor& x) {
    const at::Tensor values = x.to(at::kDouble);
    if (!at::isfinite(values).all().item<bool>()) {
      throw DataError(describe("features", "finite numbers", "NaN or infinity"));
    }
    return (values - values.mean(0)) / std::sqrt(static_cast<double>(x.size(0) - 1));
  };
  const at::Tensor rows_a = centred(a), rows_b = centred(b);
  const double means = (a.to(at::kDouble).mean(0) - b.to(at::kDouble).mean(0)).square().sum().item<double>();
  const double traces = rows_a.square().sum().item<double>() + rows_b.square().sum().item<double>();
  return means + traces - 2 * at::linalg_svdvals(at::mm(rows_a, rows_b.t())).sum().item<double>();
}

std::string few_samples_warning(int64_t n) {
  constexpr int64_t kEnough = 2048;
  if (n >= kEnough) return "";
  return fmt::format(
      "FID of {} samples is biased upwards: below {} samples the covariance has not full rank, and the fewer there "
      "are, "
      "the larger the value. Compare it only with values of as many samples, or use KID, which is unbiased",
      n, kEnough);
}

}  // namespace readback::score
