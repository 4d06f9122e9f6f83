#include "readback/nn/fused_attention.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <cmath>
#include <limits>
#include <vector>

#include "readback/base/device.h"
#include "readback/nn/differentiable.h"
#include "readback/nn/layers.h"
#include "readback/nn/simd.h"

namespace readback::nn {

namespace {

using simd::Floats, simd::kLanes;

// A tile of scores is kRows × kTile: as many sums as AVX-512 has registers for, beside the keys' four.
constexpr int64_t kRows = 6, kTileLanes = 4, kTile = kTileLanes * kLanes;
constexpr int64_t kChunk = 8 * kTile;  // keys between two looks at the maximum; their scores stay in the L1 cache
constexpr int64_t kQueriesPerTask = 16 * kRows;
constexpr int64_t kScores = int64_t{1} << 21;  // that a backward pass holds at a time, unless one head has more
constexpr float kLog2e = 1.44269504f;          // exponentials are powers of two

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
  const float factor = static_cast<float>(scale) * kLog2e;
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

READBACK_INLINE float sum_of(const Floats& v) {
  float result = 0;
  for (int64_t i = 0; i < kLanes; ++i) result += v[i];
  return result;
}

// One query's scores become its weights: softmax(factor / log2 e · scores) of the first `count`, 0 for the others.
READBACK_SIMD_CLONES void soften(c10::BFloat16* scores, int64_t count, int64_t padded, float factor) {
  std::fill(scores + count, scores + padded, -std::numeric_limits<float>::infinity());
  Floats most = simd::load(scores);
  for (int64_t j = kLanes; j < padded; j += kLanes) {
    const Floats v = simd::load(scores + j);
    most = v > most ? v : most;
  }
  const float maximum = largest(most) * factor;
  Floats total{};
  for (int64_t j = 0; j < padded; j += kLanes) total += simd::exp2(simd::load(scores + j) * factor - maximum);
  const float inverse = 1.0f / sum_of(total);
  for (int64_t j = 0; j < padded; j += kLanes) {
    simd::store(scores + j, simd::exp2(simd::load(scores + j) * factor - maximum) * inverse);
  }
}

// From one query's weights w and the gradients g of them, those of its scores: scale · w (g - Σ w g).
READBACK_SIMD_CLONES void differentiate(const c10::BFloat16* weights, int64_t padded, float scale,
                                        c10::BFloat16* gradients) {
  Floats total{};
  for (int64_t j = 0; j < padded; j += kLanes) total += simd::load(weights + j) * simd::load(gradients + j);
  const float mean = sum_of(total);
  for (int64_t j = 0; j < padded; j += kLanes) {
    simd::store(gradients + j, simd::load(weights + j) * (simd::load(gradients + j) - mean) * scale);
  }
}

template <typename Work>
void for_each_row(const at::Tensor& matrices, const Work& work) {  // of [N, T, S]
  const int64_t rows = matrices.size(0) * matrices.size(1), grain = std::max<int64_t>(1, 65536 / matrices.size(2));
  at::parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) work(row * matrices.size(2));
  });
}

// [B, heads, T, D] → [B · heads, T + more, D], zeros in the added rows
at::Tensor dense_heads(const at::Tensor& x, int64_t more = 0) {
  return at::constant_pad_nd(x, {0, 0, 0, more}).flatten(0, 1).contiguous();
}

}  // namespace

bool fuses_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const auto fits = [&](const at::Tensor& x) {
    return x.device().is_cpu() && x.scalar_type() == q.scalar_type() && x.stride(3) == 1;
  };
  static const bool amx = cpu_has_amx_bfloat16();
  const bool records = records_gradients({q, k, v});
  const bool known = q.scalar_type() == at::kBFloat16 ? !amx && !(records && k.size(2) <= kFewKeys)
                                                      : q.scalar_type() == at::kFloat && !records;
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

std::array<at::Tensor, 3> fused_attention_backward(const at::Tensor& gradient, const at::Tensor& q, const at::Tensor& k,
                                                   const at::Tensor& v, double scale, std::array<bool, 3> wanted) {
  const int64_t batch = q.size(0), heads = q.size(1), queries = q.size(2), keys = k.size(2);
  // Rows of a whole number of lanes: oneDNN multiplies them twice as fast as odd ones.
  const int64_t padded = round_up(keys, kLanes), group = std::max<int64_t>(1, kScores / (queries * padded));
  const at::Tensor all_q = dense_heads(q), all_k = dense_heads(k, padded - keys), all_v = dense_heads(v, padded - keys),
                   all_gradients = dense_heads(split_heads(gradient, heads));
  std::array<at::Tensor, 3> results;
  for (size_t i = 0; i < 3; ++i) {
    if (wanted[i]) results[i] = at::empty_like(i == 0 ? all_q : all_k);
  }
  for (int64_t first = 0; first < batch * heads; first += group) {
    const auto chosen = [&](const at::Tensor& all) {
      return all.narrow(0, first, std::min(group, batch * heads - first));
    };
    const auto multiply = [&](const at::Tensor& left, const at::Tensor& right, at::Tensor& all) {
      at::Tensor into = chosen(all);
      at::bmm_out(into, left, right);
    };
    const at::Tensor some_q = chosen(all_q), some_k = chosen(all_k), some_gradients = chosen(all_gradients);
    at::Tensor weights = at::bmm(some_q, some_k.transpose(1, 2));  // [n, T, padded S]
    auto* w = weights.data_ptr<c10::BFloat16>();
    for_each_row(weights, [&](int64_t row) { soften(w + row, keys, padded, static_cast<float>(scale) * kLog2e); });
    if (wanted[2]) multiply(weights.transpose(1, 2), some_gradients, results[2]);
    if (!wanted[0] && !wanted[1]) continue;
    at::Tensor of_scores = at::bmm(some_gradients, chosen(all_v).transpose(1, 2));
    auto* s = of_scores.data_ptr<c10::BFloat16>();
    for_each_row(weights, [&](int64_t row) { differentiate(w + row, padded, static_cast<float>(scale), s + row); });
    if (wanted[0]) multiply(of_scores, some_k, results[0]);
    if (wanted[1]) multiply(of_scores.transpose(1, 2), some_q, results[1]);
  }
  for (size_t i = 0; i < 3; ++i) {
    if (wanted[i]) results[i] = results[i].narrow(1, 0, i == 0 ? queries : keys).unflatten(0, {batch, heads});
  }
  return results;
}

}  // namespace readback::nn
