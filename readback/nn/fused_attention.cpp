#include "readback/nn/fused_attention.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <cmath>
#include <limits>
#include <vector>

#include "readback/base/device.h"
#include "readback/nn/simd.h"

namespace readback::nn {

namespace {

using simd::Floats, simd::kLanes;

// A tile of scores is kRows × kTile: as many sums as AVX-512 has registers for, beside the keys' four.
constexpr int64_t kRows = 6, kTileLanes = 4, kTile = kTileLanes * kLanes;
constexpr int64_t kChunk = 8 * kTile;  // keys between two looks at the maximum; their scores stay in the L1 cache
constexpr int64_t kQueriesPerTask = 16 * kRows;

int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// Keys and values of one head as the inner loops read them.
struct PackedHead {
  const float* keys;    // [S / kTile, D, kTile], zeros behind the last key
  const float* values;  // [S, width], zeros behind D
};

struct Sizes {
  int64_t keys, depth, width;  // width: D rounded up to lanes
};

// scores[r][j] = q[r] · key j for the kTile keys of one tile. q: [kRows, D].
READBACK_INLINE void score_tile(const float* q, const float* keys, int64_t depth, float* scores) {
  Floats sums[kRows][kTileLanes] = {};
  for (int64_t d = 0; d < depth; ++d, keys += kTile) {
    Floats key[kTileLanes];
    for (int64_t t = 0; t < kTileLanes; ++t) key[t] = simd::load(keys + t * kLanes);
    for (int64_t r = 0; r < kRows; ++r) {
      const Floats factor = simd::broadcast(q[r * depth + d]);
      for (int64_t t = 0; t < kTileLanes; ++t) sums[r][t] += factor * key[t];
    }
  }
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t t = 0; t < kTileLanes; ++t) simd::store(scores + r * kChunk + t * kLanes, sums[r][t]);
  }
}

// out[r] = out[r] · rescale[r] + Σ_j weights[r][j] · values[j], for kVectors × 16 columns. out, values: [·, width].
template <int64_t kVectors>
READBACK_INLINE void add_values(const float* weights, const float* values, int64_t count, int64_t width,
                                const float* rescale, float* out) {
  Floats sums[kRows][kVectors];
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t t = 0; t < kVectors; ++t) sums[r][t] = simd::load(out + r * width + t * kLanes) * rescale[r];
  }
  for (int64_t j = 0; j < count; ++j, values += width) {
    Floats value[kVectors];
    for (int64_t t = 0; t < kVectors; ++t) value[t] = simd::load(values + t * kLanes);
    for (int64_t r = 0; r < kRows; ++r) {
      const Floats weight = simd::broadcast(weights[r * kChunk + j]);
      for (int64_t t = 0; t < kVectors; ++t) sums[r][t] += weight * value[t];
    }
  }
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t t = 0; t < kVectors; ++t) simd::store(out + r * width + t * kLanes, sums[r][t]);
  }
}

READBACK_INLINE float largest(const Floats& v) {
  float result = v[0];
  for (int64_t i = 1; i < kLanes; ++i) result = v[i] > result ? v[i] : result;
  return result;
}

// kRows queries against all keys. q: [kRows, D], times scale · log2 e; out: [kRows, width], overwritten.
READBACK_SIMD_CLONES void attend(const float* q, PackedHead head, Sizes sizes, float* out) {
  float maxima[kRows], totals[kRows] = {}, rescale[kRows];
  alignas(64) float scores[kRows * kChunk];
  std::fill(maxima, maxima + kRows, -std::numeric_limits<float>::infinity());
  std::fill(out, out + kRows * sizes.width, 0.0f);
  for (int64_t first = 0; first < sizes.keys; first += kChunk) {
    const int64_t count = std::min(kChunk, sizes.keys - first), padded = round_up(count, kTile);
    for (int64_t j = 0; j < padded; j += kTile) {
      score_tile(q, head.keys + (first + j) * sizes.depth, sizes.depth, scores + j);
    }
    for (int64_t r = 0; r < kRows; ++r) {
      float* row = scores + r * kChunk;
      std::fill(row + count, row + padded, -std::numeric_limits<float>::infinity());
      Floats most = simd::load(row);
      for (int64_t j = kLanes; j < padded; j += kLanes) {
        const Floats v = simd::load(row + j);
        most = v > most ? v : most;
      }
      const float maximum = std::max(maxima[r], largest(most));
      rescale[r] = first == 0 ? 0.0f : std::exp2(maxima[r] - maximum);
      maxima[r] = maximum;
      Floats total{};
      for (int64_t j = 0; j < padded; j += kLanes) {
        const Floats weight = simd::exp2(simd::load(row + j) - maximum);
        total += weight;
        simd::store(row + j, weight);
      }
      float sum = 0;
      for (int64_t i = 0; i < kLanes; ++i) sum += total[i];
      totals[r] = totals[r] * rescale[r] + sum;
    }
    const float* values = head.values + first * sizes.width;
    int64_t c = 0;
    for (; c + 4 * kLanes <= sizes.width; c += 4 * kLanes) {
      add_values<4>(scores, values + c, count, sizes.width, rescale, out + c);
    }
    switch ((sizes.width - c) / kLanes) {
      case 1:
        add_values<1>(scores, values + c, count, sizes.width, rescale, out + c);
        break;
      case 2:
        add_values<2>(scores, values + c, count, sizes.width, rescale, out + c);
        break;
      case 3:
        add_values<3>(scores, values + c, count, sizes.width, rescale, out + c);
        break;
    }
  }
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t c = 0; c < sizes.width; ++c) out[r * sizes.width + c] /= totals[r];
  }
}

// One head of a [B, heads, T, D] view: its rows, and the step between them.
template <typename T>
struct Rows {
  const T* data;
  int64_t step;
  Rows(const at::Tensor& x, int64_t head)
      : data(x.const_data_ptr<T>() + head / x.size(1) * x.stride(0) + head % x.size(1) * x.stride(1)),
        step(x.stride(2)) {}
  const T* operator[](int64_t row) const { return data + row * step; }
};

template <typename T>
void run(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale, at::Tensor& out) {
  const int64_t heads = q.size(1), all_heads = q.size(0) * heads, queries = q.size(2), depth = q.size(3);
  const Sizes sizes{k.size(2), depth, round_up(depth, kLanes)};
  const int64_t keys_size = round_up(sizes.keys, kTile) * depth, values_size = sizes.keys * sizes.width;
  std::vector<float> packed_keys(static_cast<size_t>(all_heads * keys_size));
  std::vector<float> packed_values(static_cast<size_t>(all_heads * values_size));
  at::parallel_for(0, all_heads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t head = begin; head < end; ++head) {
      const Rows<T> key(k, head), value(v, head);
      float* keys = packed_keys.data() + head * keys_size;
      float* values = packed_values.data() + head * values_size;
      for (int64_t j = 0; j < sizes.keys; ++j) {
        float* column = keys + j / kTile * kTile * depth + j % kTile;
        for (int64_t d = 0; d < depth; ++d) column[d * kTile] = static_cast<float>(key[j][d]);
        for (int64_t d = 0; d < depth; ++d) values[j * sizes.width + d] = static_cast<float>(value[j][d]);
      }
    }
  });

  T* to = out.data_ptr<T>();
  const float factor = static_cast<float>(scale * 1.4426950408889634);  // exponentials are powers of two
  const int64_t tasks = (queries + kQueriesPerTask - 1) / kQueriesPerTask;
  at::parallel_for(0, all_heads * tasks, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> block(static_cast<size_t>(kRows * depth)), mixed(static_cast<size_t>(kRows * sizes.width));
    for (int64_t task = begin; task < end; ++task) {
      const int64_t head = task / tasks, last = std::min(queries, (task % tasks + 1) * kQueriesPerTask);
      const Rows<T> query(q, head);
      const PackedHead packed{packed_keys.data() + head * keys_size, packed_values.data() + head * values_size};
      for (int64_t i = task % tasks * kQueriesPerTask; i < last; i += kRows) {
        const int64_t count = std::min(kRows, last - i);
        for (int64_t r = 0; r < count; ++r) {
          for (int64_t d = 0; d < depth; ++d) block[r * depth + d] = static_cast<float>(query[i + r][d]) * factor;
        }
        attend(block.data(), packed, sizes, mixed.data());
        for (int64_t r = 0; r < count; ++r) {
          T* row = to + ((head / heads * queries + i + r) * heads + head % heads) * depth;
          for (int64_t d = 0; d < depth; ++d) row[d] = static_cast<T>(mixed[r * sizes.width + d]);
        }
      }
    }
  });
}

}  // namespace

bool fuses_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const auto fits = [&](const at::Tensor& x) {
    return x.device().is_cpu() && x.scalar_type() == q.scalar_type() && x.stride(3) == 1 &&
           !(c10::GradMode::is_enabled() && x.requires_grad());
  };
  static const bool amx = cpu_has_amx_bfloat16();
  const bool known = q.scalar_type() == at::kFloat || (q.scalar_type() == at::kBFloat16 && !amx);
  return known && q.size(2) >= 2 * kRows && fits(q) && fits(k) && fits(v);
}

at::Tensor fused_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, double scale) {
  at::Tensor out = at::empty({q.size(0), q.size(2), q.size(1) * q.size(3)}, q.options());
  if (q.scalar_type() == at::kFloat) {
    run<float>(q, k, v, scale, out);
  } else {
    run<c10::BFloat16>(q, k, v, scale, out);
  }
  return out;
}

}  // namespace readback::nn
