#include "readback/nn/fused_norm.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <cmath>
#include <vector>

#include "readback/nn/simd.h"

namespace readback::nn {

namespace {

using simd::Floats, simd::kLanes;

constexpr int64_t kRun = 64;  // positions that are summed in fp32 and normalised as one piece of work

// Adds the sums and sums of squares of each channel over `count` positions. sums, squares: [C] fp64.
template <typename T>
READBACK_INLINE void add_moments(const T* x, int64_t count, int64_t channels, double* sums, double* squares) {
  for (int64_t c = 0; c < channels; c += kLanes) {
    Floats sum{}, square{};
    for (int64_t i = 0; i < count; ++i) {
      const Floats v = simd::load(x + i * channels + c);
      sum += v;
      square += v * v;
    }
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      sums[c + lane] += sum[lane];
      squares[c + lane] += square[lane];
    }
  }
}

template <typename T>
READBACK_INLINE void normalise(const T* x, int64_t count, int64_t channels, const float* scale, const float* shift,
                               bool silu, T* out) {
  constexpr float kLog2e = 1.44269504f;
  for (int64_t c = 0; c < channels; c += kLanes) {
    const Floats a = simd::load(scale + c), b = simd::load(shift + c);
    for (int64_t i = 0; i < count; ++i) {
      Floats v = simd::load(x + i * channels + c) * a + b;
      if (silu) v /= 1.0f + simd::exp2(v * -kLog2e);
      simd::store(out + i * channels + c, v);
    }
  }
}

READBACK_SIMD_CLONES void add_moments_of(const float* x, int64_t n, int64_t channels, double* sums, double* squares) {
  add_moments(x, n, channels, sums, squares);
}
READBACK_SIMD_CLONES void add_moments_of(const c10::BFloat16* x, int64_t n, int64_t channels, double* sums,
                                         double* squares) {
  add_moments(x, n, channels, sums, squares);
}
READBACK_SIMD_CLONES void normalise_run(const float* x, int64_t n, int64_t channels, const float* scale,
                                        const float* shift, bool silu, float* out) {
  normalise(x, n, channels, scale, shift, silu, out);
}
READBACK_SIMD_CLONES void normalise_run(const c10::BFloat16* x, int64_t n, int64_t channels, const float* scale,
                                        const float* shift, bool silu, c10::BFloat16* out) {
  normalise(x, n, channels, scale, shift, silu, out);
}

template <typename T>
void run(const at::Tensor& x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias, double epsilon,
         bool silu, at::Tensor& out) {
  const int64_t batch = x.size(0), channels = x.size(1), positions = x.size(2) * x.size(3);
  const int64_t runs = (positions + kRun - 1) / kRun, per_group = channels / groups;
  const T* from = x.const_data_ptr<T>();
  T* to = out.data_ptr<T>();
  const at::Tensor weights = weight.to(at::kFloat), biases = bias.to(at::kFloat);
  const float* w = weights.const_data_ptr<float>();
  const float* b = biases.const_data_ptr<float>();

  std::vector<double> moments(static_cast<size_t>(2 * batch * runs * channels));  // of each run
  at::parallel_for(0, batch * runs, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t image = r / runs, first = r % runs * kRun;
      double* sums = moments.data() + 2 * r * channels;
      add_moments_of(from + (image * positions + first) * channels, std::min(kRun, positions - first), channels, sums,
                     sums + channels);
    }
  });
  std::vector<float> scale(static_cast<size_t>(batch * channels)), shift(scale.size());
  const double count = static_cast<double>(per_group * positions);
  for (int64_t image = 0; image < batch; ++image) {
    for (int64_t group = 0; group < groups; ++group) {
      double sum = 0, square = 0;
      for (int64_t r = image * runs; r < (image + 1) * runs; ++r) {
        const double* sums = moments.data() + 2 * r * channels + group * per_group;
        for (int64_t c = 0; c < per_group; ++c) {
          sum += sums[c];
          square += sums[channels + c];
        }
      }
      const double mean = sum / count, variance = std::max(0.0, square / count - mean * mean);
      const double inverse = 1.0 / std::sqrt(variance + epsilon);
      for (int64_t c = group * per_group; c < (group + 1) * per_group; ++c) {
        scale[static_cast<size_t>(image * channels + c)] = static_cast<float>(w[c] * inverse);
        shift[static_cast<size_t>(image * channels + c)] = static_cast<float>(b[c] - mean * w[c] * inverse);
      }
    }
  }
  at::parallel_for(0, batch * runs, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int64_t image = r / runs, first = r % runs * kRun, offset = (image * positions + first) * channels;
      normalise_run(from + offset, std::min(kRun, positions - first), channels, scale.data() + image * channels,
                    shift.data() + image * channels, silu, to + offset);
    }
  });
}

}  // namespace

bool fuses_group_norm(const at::Tensor& x) {
  return x.device().is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) && x.dim() == 4 &&
         x.size(1) % kLanes == 0 && x.is_contiguous(at::MemoryFormat::ChannelsLast) &&
         !(c10::GradMode::is_enabled() && x.requires_grad());
}

at::Tensor fused_group_norm(const at::Tensor& x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias,
                            double epsilon, bool silu) {
  at::Tensor out = at::empty_like(x);
  if (x.scalar_type() == at::kFloat) {
    run<float>(x, groups, weight, bias, epsilon, silu, out);
  } else {
    run<c10::BFloat16>(x, groups, weight, bias, epsilon, silu, out);
  }
  return out;
}

}  // namespace readback::nn
