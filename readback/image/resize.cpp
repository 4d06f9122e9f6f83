#include "readback/image/resize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numbers>

#include "readback/image/formats.h"

// One copy of the inner loop for each instruction set, chosen when the program starts.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define READBACK_FOR_EACH_CPU __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define READBACK_FOR_EACH_CPU
#endif

namespace readback::image {
namespace {

constexpr int kPrecisionBits = 32 - 8 - 2;  // weights as Pillow has them for 8-bit pixels
constexpr int64_t kBlock = 48;              // bytes summed at a time; also 16 RGB pixels
constexpr int64_t kTileRows = kBlock / 3;

double sinc(double x) { return x == 0 ? 1 : std::sin(x * std::numbers::pi) / (x * std::numbers::pi); }

double lanczos(double x) { return -3 <= x && x < 3 ? sinc(x) * sinc(x / 3) : 0; }

double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

double bilinear(double x) { return std::max(0.0, 1 - std::abs(x)); }

struct Kernel {
  double (*weight)(double);
  double support;  // half of its width, in pixels of the smaller of source and target
};

Kernel kernel_of(Filter filter) {
  switch (filter) {
    case Filter::kBilinear:
      return {bilinear, 1};
    case Filter::kBicubic:
      return {bicubic, 2};
    default:
      return {lanczos, 3};
  }
}

// For each target position the first source position it draws from and their weights, which add up to one.
template <typename T>
struct WeightsOf {
  struct Span {
    int64_t first, count;
  };
  int64_t stride = 0;
  std::vector<Span> spans;
  std::vector<T> values;  // target × stride

  const T* at(int64_t target) const { return values.data() + target * stride; }
};
using ExactWeights = WeightsOf<double>;
using Weights = WeightsOf<int32_t>;  // in units of 2^-22

ExactWeights make_exact_weights(int64_t source_size, int64_t target_size, Kernel kernel) {
  const double scale = static_cast<double>(source_size) / static_cast<double>(target_size);
  const double filter_scale = std::max(scale, 1.0);
  const double support = kernel.support * filter_scale;
  ExactWeights weights;
  weights.stride = static_cast<int64_t>(std::ceil(support)) * 2 + 1;
  weights.values.assign(static_cast<size_t>(target_size * weights.stride), 0);
  for (int64_t target = 0; target < target_size; ++target) {
    const double centre = (static_cast<double>(target) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(static_cast<int64_t>(centre - support + 0.5), 0);
    const int64_t end = std::min(static_cast<int64_t>(centre + support + 0.5), source_size);
    const int64_t count = end - first;
    double* values = weights.values.data() + target * weights.stride;
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) {
      values[i] = kernel.weight((static_cast<double>(i + first) - centre + 0.5) * (1.0 / filter_scale));
      sum += values[i];
    }
    for (int64_t i = 0; i < count && sum != 0; ++i) values[i] /= sum;
    weights.spans.push_back({first, count});
  }
  return weights;
}

Weights make_weights(int64_t source_size, int64_t target_size, Kernel kernel) {
  const ExactWeights exact = make_exact_weights(source_size, target_size, kernel);
  Weights weights;
  weights.stride = exact.stride;
  for (const auto& [first, count] : exact.spans) weights.spans.push_back({first, count});
  for (const double value : exact.values) {
    const double scaled = value * (1 << kPrecisionBits);
    weights.values.push_back(static_cast<int32_t>(scaled < 0 ? scaled - 0.5 : scaled + 0.5));
  }
  return weights;
}

// target[0 … 47] = Σ_i weights[i] × source[i × stride + 0 … 47], rounded and clipped.
READBACK_FOR_EACH_CPU void weighted_sum(const uint8_t* source, int64_t stride, const int32_t* weights, int64_t count,
                                        uint8_t* target) {
  int32_t sums[kBlock];
  for (int64_t j = 0; j < kBlock; ++j) sums[j] = 1 << (kPrecisionBits - 1);
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t* row = source + i * stride;
    const int32_t weight = weights[i];
    for (int64_t j = 0; j < kBlock; ++j) sums[j] += weight * row[j];
  }
  for (int64_t j = 0; j < kBlock; ++j) {
    const int32_t value = sums[j] >> kPrecisionBits;
    target[j] = static_cast<uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
  }
}

// A tile holds 16 rows turned on their side: the pixels of one column lie side by side, so that the sum along a row
// becomes the same sum over blocks that the vertical pass takes.
void fill_tile(const Image& image, int64_t y, int64_t rows, uint8_t* tile) {
  for (int64_t r = 0; r < rows; ++r) {
    const uint8_t* row = image.at(0, y + r);
    for (int64_t x = 0; x < image.width; ++x) std::memcpy(tile + x * kBlock + r * 3, row + x * 3, 3);
  }
}

Image resize_width(const Image& image, int64_t width, const Weights& weights) {
  Image resized(width, image.height);
  std::vector<uint8_t> tile(static_cast<size_t>(image.width * kBlock));
  std::array<uint8_t, kBlock> column{};
  for (int64_t y = 0; y < image.height; y += kTileRows) {
    const int64_t rows = std::min(kTileRows, image.height - y);
    fill_tile(image, y, rows, tile.data());
    for (int64_t x = 0; x < width; ++x) {
      const auto [first, count] = weights.spans[x];
      weighted_sum(tile.data() + first * kBlock, kBlock, weights.at(x), count, column.data());
      for (int64_t r = 0; r < rows; ++r) std::memcpy(resized.at(x, y + r), column.data() + r * 3, 3);
    }
  }
  return resized;
}

Image resize_height(const Image& image, int64_t height, const Weights& weights) {
  Image resized(image.width, height);
  const int64_t row_size = image.width * 3, whole = row_size / kBlock * kBlock, rest = row_size - whole;
  // Whole blocks are read in place; what is left of each row is copied to rows of one block.
  std::vector<uint8_t> margin(static_cast<size_t>(image.height * kBlock));
  std::array<uint8_t, kBlock> last{};
  for (int64_t y = 0; y < image.height; ++y) std::memcpy(margin.data() + y * kBlock, image.at(0, y) + whole, rest);
  for (int64_t y = 0; y < height; ++y) {
    const auto [first, count] = weights.spans[y];
    uint8_t* target = resized.at(0, y);
    for (int64_t x = 0; x < whole; x += kBlock) {
      weighted_sum(image.at(0, first) + x, row_size, weights.at(y), count, target + x);
    }
    weighted_sum(margin.data() + first * kBlock, kBlock, weights.at(y), count, last.data());
    std::memcpy(target + whole, last.data(), rest);
  }
  return resized;
}

// target[x] = Σ_i weights_x[i] × source[…]: along rows of `width` pixels, or along columns of `height`.
template <typename T>
std::vector<float> sum_along_rows(const T* source, int64_t rows, int64_t source_width, const ExactWeights& weights) {
  const auto width = static_cast<int64_t>(weights.spans.size());
  std::vector<float> target(static_cast<size_t>(rows * width * 3));
  for (int64_t y = 0; y < rows; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      const auto [first, count] = weights.spans[x];
      const T* pixel = source + (y * source_width + first) * 3;
      double sums[3] = {};
      for (int64_t i = 0; i < count; ++i) {
        for (int64_t c = 0; c < 3; ++c) sums[c] += pixel[i * 3 + c] * weights.at(x)[i];
      }
      for (int64_t c = 0; c < 3; ++c) target[(y * width + x) * 3 + c] = static_cast<float>(sums[c]);
    }
  }
  return target;
}

template <typename T>
std::vector<float> sum_along_columns(const T* source, int64_t width, const ExactWeights& weights) {
  const int64_t row_size = width * 3;
  std::vector<float> target;
  target.reserve(weights.spans.size() * static_cast<size_t>(row_size));
  std::vector<double> sums(static_cast<size_t>(row_size));
  for (size_t y = 0; y < weights.spans.size(); ++y) {
    const auto [first, count] = weights.spans[y];
    std::fill(sums.begin(), sums.end(), 0.0);
    for (int64_t i = 0; i < count; ++i) {
      const T* row = source + (first + i) * row_size;
      const double weight = weights.at(static_cast<int64_t>(y))[i];
      for (int64_t j = 0; j < row_size; ++j) sums[j] += row[j] * weight;
    }
    for (const double sum : sums) target.push_back(static_cast<float>(sum));
  }
  return target;
}

bool takes_height_first(const Image& image, int64_t width, int64_t height) {
  const int64_t fewer_rows = image.height - height, fewer_columns = image.width - width;
  return fewer_rows > 0 && fewer_rows > fewer_columns * 2;
}

}  // namespace

std::vector<float> resize_unrounded(const Image& image, int64_t width, int64_t height, Filter filter) {
  check_size(image.width, image.height, "resize: the source");
  check_size(width, height, "resize: the target");
  const Kernel kernel = kernel_of(filter);
  const ExactWeights across = make_exact_weights(image.width, width, kernel);
  const ExactWeights down = make_exact_weights(image.height, height, kernel);
  if (takes_height_first(image, width, height)) {
    const std::vector<float> lower = sum_along_columns(image.pixels.data(), image.width, down);
    return sum_along_rows(lower.data(), height, image.width, across);
  }
  const std::vector<float> narrower = sum_along_rows(image.pixels.data(), image.height, image.width, across);
  return sum_along_columns(narrower.data(), width, down);
}

Image resize(const Image& image, int64_t width, int64_t height, Filter filter) {
  check_size(image.width, image.height, "resize: the source");
  check_size(width, height, "resize: the target");
  const Kernel kernel = kernel_of(filter);
  const auto fit_width = [&](const Image& source) {
    return width == source.width ? source : resize_width(source, width, make_weights(source.width, width, kernel));
  };
  const auto fit_height = [&](const Image& source) {
    if (height == source.height) return source;
    return resize_height(source, height, make_weights(source.height, height, kernel));
  };
  return takes_height_first(image, width, height) ? fit_width(fit_height(image)) : fit_height(fit_width(image));
}

}  // namespace readback::image
