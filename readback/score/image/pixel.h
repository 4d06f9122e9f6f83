// How alike two pictures of one size are, pixel by pixel.
#pragma once
#include "readback/image/image.h"

namespace readback::score {

// 10 log10(255² / mean squared error over pixels and channels), in decibels; infinite for equal pictures. As
// torchmetrics' peak_signal_noise_ratio(data_range=255). Errors: DataError for different or no sizes.
double psnr(const image::Image& a, const image::Image& b);

// Structural similarity (Wang et al., IEEE TIP 2004), −1 … 1: the mean over channels and positions of
//   (2 μ_a μ_b + c_1)(2 σ_ab + c_2) / ((μ_a² + μ_b² + c_1)(σ_a² + σ_b² + c_2)),  c_1 = (0.01 · 255)², c_2 = (0.03 ·
//   255)²,
// with moments under a Gaussian window of 11 × 11, sigma 1.5, at every position; beyond its edges the picture goes on
// mirrored. As torchmetrics' structural_similarity_index_measure(data_range=255) in fp64; skimage differs, since it
// leaves the positions out where the window does not fit. Errors: DataError for different sizes and sides below 6.
double ssim(const image::Image& a, const image::Image& b);

}  // namespace readback::score
