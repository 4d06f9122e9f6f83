#include "readback/nn/fused_norm.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

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

constexpr float kLog2e = 1.44269504f;

template <typename T>
READBACK_INLINE void normalise(const T* x, int64_t count, int64_t channels, const float* scale, const float* shift,
                               bool silu, T* out) {
  for (int64_t c = 0; c < channels; c += kLanes) {
    const Floats a = simd::load(scale + c), b = simd::load(shift + c);
    for (int64_t i = 0; i < count; ++i) {
      Floats v = simd::load(x + i * channels + c) * a + b;
      if (silu) v /= 1.0f + simd::exp2(v * -kLog2e);
      simd::store(out + i * channels + c, v);
    }
  }
}

// The gradient before the activation: of silu(z) at z = scale · x + shift.
READBACK_INLINE Floats before_silu(const Floats& gradient, const Floats& z) {
  const Floats sigmoid = 1.0f / (1.0f + simd::exp2(z * -kLog2e));
  return gradient * sigmoid * (1.0f + z * (1.0f - sigmoid));
}

// Adds each channel's sums of d and d · x over `count` positions, d the gradient before the activation.
template <typename T>
READBACK_INLINE void add_gradients(const T* gradient, const T* x, int64_t count, int64_t channels, const float* scale,
                                   const float* shift, bool silu, double* sums, double* products) {
  for (int64_t c = 0; c < channels; c += kLanes) {
    const Floats a = simd::load(scale + c), b = simd::load(shift + c);
    Floats sum{}, product{};
    for (int64_t i = 0; i < count; ++i) {
      const Floats v = simd::load(x + i * channels + c);
      Floats d = simd::load(gradient + i * channels + c);
      if (silu) d = before_silu(d, v * a + b);
      sum += d;
      product += d * v;
    }
    for (int64_t lane = 0; lane < kLanes; ++lane) {
      sums[c + lane] += sum[lane];
      products[c + lane] += product[lane];
    }
  }
}

// out = scale · d + slope · x + offset, d the gradient before the activation.
template <typename T>
READBACK_INLINE void differentiate(const T* gradient, const T* x, int64_t count, int64_t channels, const float* scale,
                                   const float* shift, const float* slope, const float* offset, bool silu, T* out) {
  for (int64_t c = 0; c < channels; c += kLanes) {
    const Floats a = simd::load(scale + c), b = simd::load(shift + c), m = simd::load(slope + c),
                 k = simd::load(offset + c);
    for (int64_t i = 0; i < count; ++i) {
      const Floats v = simd::load(x + i * channels + c);
      Floats d = simd::load(gradient + i * channels + c);
      if (silu) d = before_silu(d, v * a + b);
      simd::store(out + i * channels + c, d * a + v * m + k);
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

READBACK_SIMD_CLONES void add_gradients_of(const float* gradient, const float* x, int64_t n, int64_t channels,
                                           const float* scale, const float* shift, bool silu, double* sums,
                                           double* products) {
  add_gradients(gradient, x, n, channels, scale, shift, silu, sums, products);
}
READBACK_SIMD_CLONES void add_gradients_of(const c10::BFloat16* gradient, const c10::BFloat16* x, int64_t n,
                                           int64_t channels, const float* scale, const float* shift, bool silu,
                                           double* sums, double* products) {
  add_gradients(gradient, x, n, channels, scale, shift, silu, sums, products);
}
READBACK_SIMD_CLONES void differentiate_run(const float* gradient, const float* x, int64_t n, int64_t channels,
                                            const float* scale, const float* shift, const float* slope,
                                            const float* offset, bool silu, float* out) {
  differentiate(gradient, x, n, channels, scale, shift, slope, offset, silu, out);
}
READBACK_SIMD_CLONES void differentiate_run(const c10::BFloat16* gradient, const c10::BFloat16* x, int64_t n,
                                            int64_t channels, const float* scale, const float* shift,
                                            const float* slope, const float* offset, bool silu, c10::BFloat16* out) {
  differentiate(gradient, x, n, channels, scale, shift, slope, offset, silu, out);
}

// Where a run of positions of one image lies.
struct Run {
  int64_t index, image, first, count;
};

// The map's sizes, and its runs, which are shared out to the threads.
struct Layout {
  int64_t batch, channels, positions, groups;
  int64_t runs() const { return (positions + kRun - 1) / kRun; }  // of an image
  int64_t per_group() const { return channels / groups; }
  int64_t offset(const Run& run) const { return (run.image * positions + run.first) * channels; }

  template <typename Work>
  void for_each_run(const Work& work) const {
    at::parallel_for(0, batch * runs(), 1, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const int64_t first = r % runs() * kRun;
        work(Run{r, r / runs(), first, std::min(kRun, positions - first)});
      }
    });
  }

  // Two sums for each channel of each image, fp64 [2][B][C], from those of each run [runs of all images][2][C].
  std::vector<double> total(const std::vector<double>& of_runs) const {
    std::vector<double> sums(static_cast<size_t>(2 * batch * channels));
    for (int64_t r = 0; r < batch * runs(); ++r) {
      for (int64_t half = 0; half < 2; ++half) {
        const double* from = of_runs.data() + (2 * r + half) * channels;
        double* to = sums.data() + (half * batch + r / runs()) * channels;
        for (int64_t c = 0; c < channels; ++c) to[c] += from[c];
      }
    }
    return sums;
  }
};

Layout layout_of(const at::Tensor& x, int64_t groups) { return {x.size(0), x.size(1), x.size(2) * x.size(3), groups}; }

// Normalisation as one multiplication and one addition for each channel of each image, [B][C].
struct Affine {
  std::vector<float> scale, shift;
};

Affine affine_of(const Layout& map, const at::Tensor& weight, const at::Tensor& bias, const NormMoments& moments) {
  const at::Tensor weights = weight.to(at::kFloat), biases = bias.to(at::kFloat);
  const float *w = weights.const_data_ptr<float>(), *b = biases.const_data_ptr<float>();
  const double *mean = moments.mean.const_data_ptr<double>(), *inverse = moments.inverse.const_data_ptr<double>();
  Affine affine;
  for (int64_t image = 0; image < map.batch; ++image) {
    for (int64_t c = 0; c < map.channels; ++c) {
      const int64_t group = image * map.groups + c / map.per_group();
      affine.scale.push_back(static_cast<float>(w[c] * inverse[group]));
      affine.shift.push_back(static_cast<float>(b[c] - mean[group] * w[c] * inverse[group]));
    }
  }
  return affine;
}

template <typename T>
NormMoments moments_of(const Layout& map, const T* x, double epsilon) {
  std::vector<double> of_runs(static_cast<size_t>(2 * map.batch * map.runs() * map.channels));
  map.for_each_run([&](const Run& run) {
    double* sums = of_runs.data() + 2 * run.index * map.channels;
    add_moments_of(x + map.offset(run), run.count, map.channels, sums, sums + map.channels);
  });
  const std::vector<double> sums = map.total(of_runs);
  NormMoments moments{at::empty({map.batch, map.groups}, at::kDouble), at::empty({map.batch, map.groups}, at::kDouble)};
  const double count = static_cast<double>(map.per_group() * map.positions);
  for (int64_t group = 0; group < map.batch * map.groups; ++group) {
    const double *sum = sums.data() + group * map.per_group(), *square = sum + map.batch * map.channels;
    double total = 0, squares = 0;
    for (int64_t c = 0; c < map.per_group(); ++c) {
      total += sum[c];
      squares += square[c];
    }
    const double mean = total / count, variance = std::max(0.0, squares / count - mean * mean);
    moments.mean.data_ptr<double>()[group] = mean;
    moments.inverse.data_ptr<double>()[group] = 1.0 / std::sqrt(variance + epsilon);
  }
  return moments;
}

template <typename T>
NormMoments forward(const Layout& map, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                    double epsilon, bool silu, at::Tensor& out) {
  const T* from = x.const_data_ptr<T>();
  T* to = out.data_ptr<T>();
  NormMoments moments = moments_of(map, from, epsilon);
  const Affine affine = affine_of(map, weight, bias, moments);
  map.for_each_run([&](const Run& run) {
    const int64_t channel = run.image * map.channels;
    normalise_run(from + map.offset(run), run.count, map.channels, affine.scale.data() + channel,
                  affine.shift.data() + channel, silu, to + map.offset(run));
  });
  return moments;
}

// With w, x̂ and d the weight, the normalised x and the gradient before the activation, n values a group and σ the
// standard deviation: dx = (w d - Σ w d / n - x̂ Σ w d x̂ / n) / σ, dw = Σ d x̂, db = Σ d.
template <typename T>
NormGradients backward(const Layout& map, const at::Tensor& gradient, const at::Tensor& x, const at::Tensor& weight,
                       const at::Tensor& bias, const NormMoments& moments, bool silu) {
  const T *from = x.const_data_ptr<T>(), *gradients = gradient.const_data_ptr<T>();
  const Affine affine = affine_of(map, weight, bias, moments);
  std::vector<double> of_runs(static_cast<size_t>(2 * map.batch * map.runs() * map.channels));
  map.for_each_run([&](const Run& run) {
    double* sums = of_runs.data() + 2 * run.index * map.channels;
    const int64_t channel = run.image * map.channels, offset = map.offset(run);
    add_gradients_of(gradients + offset, from + offset, run.count, map.channels, affine.scale.data() + channel,
                     affine.shift.data() + channel, silu, sums, sums + map.channels);
  });
  const std::vector<double> sums = map.total(of_runs);

  const at::Tensor weights = weight.to(at::kDouble).contiguous();
  const double *w = weights.const_data_ptr<double>(), *mean = moments.mean.const_data_ptr<double>(),
               *inverse = moments.inverse.const_data_ptr<double>();
  const double count = static_cast<double>(map.per_group() * map.positions);
  std::vector<float> slope(affine.scale.size()), offset(affine.scale.size());
  at::Tensor weight_gradient = at::zeros({map.channels}, at::kDouble), bias_gradient = at::zeros_like(weight_gradient);
  for (int64_t group = 0; group < map.batch * map.groups; ++group) {
    double direct = 0, along = 0;  // Σ w d, Σ w d x̂
    for (int64_t i = group * map.per_group(); i < (group + 1) * map.per_group(); ++i) {
      const int64_t c = i % map.channels;
      const double sum = sums[static_cast<size_t>(i)];
      const double product = sums[static_cast<size_t>(map.batch * map.channels + i)];
      const double normalised = inverse[group] * (product - mean[group] * sum);
      direct += w[c] * sum;
      along += w[c] * normalised;
      weight_gradient.data_ptr<double>()[c] += normalised;
      bias_gradient.data_ptr<double>()[c] += sum;
    }
    const double tilt = -inverse[group] * inverse[group] * along / count;
    for (int64_t i = group * map.per_group(); i < (group + 1) * map.per_group(); ++i) {
      slope[static_cast<size_t>(i)] = static_cast<float>(tilt);
      offset[static_cast<size_t>(i)] = static_cast<float>(-inverse[group] * direct / count - tilt * mean[group]);
    }
  }

  NormGradients result{at::empty_like(x), weight_gradient.to(weight.scalar_type()),
                       bias_gradient.to(bias.scalar_type())};
  T* to = result.x.data_ptr<T>();
  map.for_each_run([&](const Run& run) {
    const int64_t channel = run.image * map.channels, at = map.offset(run);
    differentiate_run(gradients + at, from + at, run.count, map.channels, affine.scale.data() + channel,
                      affine.shift.data() + channel, slope.data() + channel, offset.data() + channel, silu, to + at);
  });
  return result;
}

}  // namespace

bool fuses_group_norm(const at::Tensor& x) {
  return x.device().is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16) && x.dim() == 4 &&
         x.size(1) % kLanes == 0 && x.is_contiguous(at::MemoryFormat::ChannelsLast);
}

at::Tensor fused_group_norm(const at::Tensor& x, int64_t groups, const at::Tensor& weight, const at::Tensor& bias,
                            double epsilon, bool silu, NormMoments* moments) {
  at::Tensor out = at::empty_like(x);
  const Layout map = layout_of(x, groups);
  NormMoments found = x.scalar_type() == at::kFloat ? forward<float>(map, x, weight, bias, epsilon, silu, out)
                                                    : forward<c10::BFloat16>(map, x, weight, bias, epsilon, silu, out);
  if (moments != nullptr) *moments = std::move(found);
  return out;
}

NormGradients fused_group_norm_backward(const at::Tensor& gradient, const at::Tensor& x, const at::Tensor& weight,
                                        const at::Tensor& bias, const NormMoments& moments, bool silu) {
  const Layout map = layout_of(x, moments.mean.size(1));
  const at::Tensor dense = gradient.contiguous(at::MemoryFormat::ChannelsLast);
  return x.scalar_type() == at::kFloat ? backward<float>(map, dense, x, weight, bias, moments, silu)
                                       : backward<c10::BFloat16>(map, dense, x, weight, bias, moments, silu);
}

}  // namespace readback::nn
