// The Fréchet distance of two sets of features, each taken for a normal distribution: FID when the features are
// Inception's 2048 (Heusel et al., NeurIPS 2017, https://arxiv.org/abs/1706.08500).
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <string>

namespace readback::score {

struct GaussianStatistics {
  at::Tensor mu;       // [D], fp64
  at::Tensor sigma;    // [D, D], fp64, divided by n − 1
  int64_t n = 0;       // samples
  std::string source;  // what the features are, e.g. "Inception 2048, torch-fidelity"; empty when unknown
};

// Mean and covariance of features that come in batches, in fp64, without holding them (Chan et al. 1979).
class GaussianAccumulator {
 public:
  // [B, D] of any floating type and device. Errors: DataError for another width than before and for NaN or infinity.
  void add(const at::Tensor& features);
  // Errors: DataError with fewer than two samples.
  GaussianStatistics finish(std::string source = "") const;

 private:
  at::Tensor mean_, scatter_;  // [D]; [D, D]: Σ (x − mean)(x − mean)ᵀ
  int64_t n_ = 0;
};
GaussianStatistics gaussian_statistics(const at::Tensor& features, std::string source = "");  // [N, D]

// safetensors with `mu`, `sigma` and `n`, the source in the metadata. Errors: StoreError; DataError for a file that
// lacks one of them or whose shapes disagree, CheckpointError for one that is damaged.
void save_statistics(const GaussianStatistics& statistics, const std::filesystem::path& path);
GaussianStatistics load_statistics(const std::filesystem::path& path);

// |mu_a − mu_b|² + tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½), the square root's trace by eigenvalues, as torch-fidelity has it.
// Errors: DataError for features of different widths or sources.
double frechet_distance(const GaussianStatistics& a, const GaussianStatistics& b);

// The same of features [N, D] and [M, D] at once, by the singular values of an N × M matrix: far less work than with
// covariances where there are fewer samples than features. Errors: DataError.
double frechet_distance(const at::Tensor& a, const at::Tensor& b);

// Which way the distance errs with n samples on the smaller side, in words for a user; empty from 2,048 samples on,
// where the covariance of 2,048 features has full rank.
std::string few_samples_warning(int64_t n);

}  // namespace readback::score
