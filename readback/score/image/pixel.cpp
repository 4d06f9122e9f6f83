#include "readback/score/image/pixel.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "readback/base/error.h"

namespace readback::score {

namespace {

constexpr int64_t kWindow = 11;
constexpr int64_t kMoments = 5;  // a, b, a², b², ab

void check_sizes(const char* metric, const image::Image& a, const image::Image& b, int64_t smallest) {
  if (a.width != b.width || a.height != b.height) {
    throw DataError(describe(metric, "two pictures of one size",
                             fmt::format("{} × {} and {} × {}", a.width, a.height, b.width, b.height)));
  }
  if (std::min(a.width, a.height) < smallest) {
    throw DataError(describe(metric, fmt::format("sides of at least {} pixels", smallest),
                             fmt::format("{} × {}", a.width, a.height)));
  }
}

std::array<double, kWindow> gaussian() {
  constexpr double kSigma = 1.5;
  std::array<double, kWindow> weights;
  double sum = 0;
  for (int64_t i = 0; i < kWindow; ++i) {
    const double distance = static_cast<double>(i - kWindow / 2) / kSigma;
    sum += weights[i] = std::exp(-distance * distance / 2);
  }
  for (double& weight : weights) weight /= sum;
  return weights;
}

// Position i of a line of n pixels that goes on mirrored beyond its ends.
int64_t reflect(int64_t i, int64_t n) { return i < 0 ? -i : i < n ? i : 2 * n - 2 - i; }

// One row of both pictures: each moment summed over the window along the row, [kMoments][width · 3].
// Values lie side by side by channel, so that a step to the next pixel is a step of 3.
void sum_along_row(const uint8_t* a, const uint8_t* b, int64_t width, const std::array<double, kWindow>& weights,
                   std::vector<double>& products, double* sums) {
  const int64_t inner = width * 3, outer = inner + (kWindow - 1) * 3;
  for (int64_t p = 0; p < width + kWindow - 1; ++p) {
    const int64_t source = reflect(p - kWindow / 2, width) * 3;
    for (int64_t c = 0; c < 3; ++c) {
      const double x = a[source + c], y = b[source + c];
      double* product = products.data() + p * 3 + c;
      product[0] = x;
      product[outer] = y;
      product[2 * outer] = x * x;
      product[3 * outer] = y * y;
      product[4 * outer] = x * y;
    }
  }
  for (int64_t m = 0; m < kMoments; ++m) {
    double* sum = sums + m * inner;
    std::fill(sum, sum + inner, 0.0);
    for (int64_t k = 0; k < kWindow; ++k) {
      const double* source = products.data() + m * outer + k * 3;
      for (int64_t i = 0; i < inner; ++i) sum[i] += weights[k] * source[i];
    }
  }
}

// Over one row of windows: `moments` as above, summed along the columns too.
double similarity_of_row(const double* moments, int64_t inner) {
  constexpr double kC1 = 0.01 * 255 * (0.01 * 255), kC2 = 0.03 * 255 * (0.03 * 255);
  double sum = 0;
  for (int64_t i = 0; i < inner; ++i) {
    const double a = moments[i], b = moments[inner + i];
    const double variance_a = std::max(0.0, moments[2 * inner + i] - a * a);
    const double variance_b = std::max(0.0, moments[3 * inner + i] - b * b);
    const double covariance = moments[4 * inner + i] - a * b;
    sum += (2 * a * b + kC1) * (2 * covariance + kC2) / ((a * a + b * b + kC1) * (variance_a + variance_b + kC2));
  }
  return sum;
}

}  // namespace

double psnr(const image::Image& a, const image::Image& b) {
  check_sizes("PSNR", a, b, 1);
  int64_t squares = 0;
  for (size_t i = 0; i < a.pixels.size(); ++i) {
    const int64_t difference = int64_t{a.pixels[i]} - int64_t{b.pixels[i]};
    squares += difference * difference;
  }
  if (squares == 0) return std::numeric_limits<double>::infinity();
  return 10 * std::log10(255.0 * 255.0 * static_cast<double>(a.pixels.size()) / static_cast<double>(squares));
}

double ssim(const image::Image& a, const image::Image& b) {
  check_sizes("SSIM", a, b, kWindow / 2 + 1);
  const std::array<double, kWindow> weights = gaussian();
  const int64_t inner = a.width * 3, row_size = kMoments * inner;
  // The last 11 rows' sums, in a ring.
  std::vector<double> ring(static_cast<size_t>(kWindow * row_size)), moments(static_cast<size_t>(row_size));
  std::vector<double> products(static_cast<size_t>(kMoments * (a.width + kWindow - 1) * 3));
  double sum = 0;
  for (int64_t row = 0; row < a.height + kWindow - 1; ++row) {
    const int64_t y = reflect(row - kWindow / 2, a.height);
    sum_along_row(a.at(0, y), b.at(0, y), a.width, weights, products, ring.data() + row % kWindow * row_size);
    if (row < kWindow - 1) continue;
    std::fill(moments.begin(), moments.end(), 0.0);
    for (int64_t k = 0; k < kWindow; ++k) {
      const double* source = ring.data() + (row - kWindow + 1 + k) % kWindow * row_size;
      for (int64_t i = 0; i < row_size; ++i) moments[i] += weights[k] * source[i];
    }
    sum += similarity_of_row(moments.data(), inner);
  }
  return sum / static_cast<double>(a.height * inner);
}

}  // namespace readback::score
