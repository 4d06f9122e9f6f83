#include "readback/nn/layers.h"

#include <ATen/ATen.h>

#include <cmath>
#include <limits>
#include <tuple>

#include "readback/base/device.h"
#include "readback/base/error.h"
#include "readback/nn/differentiable.h"
#include "readback/nn/fused_attention.h"
#include "readback/nn/fused_norm.h"
#include "readback/nn/packing.h"

namespace readback::nn {

namespace {
at::Tensor gelu_exact(const at::Tensor& x) { return at::gelu(x); }
at::Tensor gelu_tanh(const at::Tensor& x) { return at::gelu(x, "tanh"); }
at::Tensor quick_gelu(const at::Tensor& x) { return x * at::sigmoid(x * 1.702); }
at::Tensor silu(const at::Tensor& x) { return at::silu(x); }
at::Tensor relu(const at::Tensor& x) { return at::relu(x); }

at::Tensor affine(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias = {}) {
  if (records_gradients({x, weight, bias})) return differentiable_linear(x, weight, bias);
  return multiplies_by_onednn(x) ? onednn_linear(x, weight, bias) : at::linear(x, weight, bias);
}
}  // namespace

Linear::Linear(const Weights& weights, int64_t in, int64_t out, bool with_bias, Init init)
    : adapter(weights.adapter(in, out)) {
  std::tie(weight, in_file) = weights.get_matrix("weight", {out, in}, init);
  if (with_bias) bias = weights.get("bias", {out}, Init::zeros());
  if (weights.is_for_inference()) pack();
}

at::Tensor Linear::operator()(const at::Tensor& x) const {
  if (packed.defined()) return packed_linear(x, packed, bias);
  const at::Tensor y = affine(x, in_file ? weight.to(x.scalar_type()) : weight, bias);
  return adapter.a.defined() ? y + affine(affine(x, adapter.a) * adapter.scale, adapter.b) : y;
}

void Linear::pack() {
  if (!packed.defined() && !in_file) packed = pack_weight(weight);
  if (packed.defined()) weight.reset();
}

Embedding::Embedding(const Weights& weights, int64_t count, int64_t width, Init init)
    : weight(weights.get("weight", {count, width}, init)) {}

at::Tensor Embedding::operator()(const at::Tensor& ids) const { return at::embedding(weight, ids); }

LayerNorm::LayerNorm(const Weights& weights, int64_t width, double epsilon)
    : weight(weights.get("weight", {width}, Init::ones())),
      bias(weights.get("bias", {width}, Init::zeros())),
      epsilon(epsilon) {}

at::Tensor LayerNorm::operator()(const at::Tensor& x) const {
  return at::layer_norm(x, weight.sizes(), weight, bias, epsilon);
}

RmsNorm::RmsNorm(const Weights& weights, int64_t width, double epsilon)
    : weight(weights.get("weight", {width}, Init::ones())), epsilon(epsilon) {}

at::Tensor RmsNorm::operator()(const at::Tensor& x) const {
  const at::Tensor wide = x.to(at::kFloat);
  return weight * (wide * at::rsqrt(wide.square().mean(-1, /*keepdim=*/true) + epsilon)).to(weight.scalar_type());
}

GroupNorm::GroupNorm(const Weights& weights, int64_t groups, int64_t channels, double epsilon)
    : weight(weights.get("weight", {channels}, Init::ones())),
      bias(weights.get("bias", {channels}, Init::zeros())),
      groups(groups),
      epsilon(epsilon) {}

at::Tensor GroupNorm::apply(const at::Tensor& x, bool silu) const {
  if (fuses_group_norm(x)) {
    return records_gradients({x, weight, bias}) ? differentiable_group_norm(x, groups, weight, bias, epsilon, silu)
                                                : fused_group_norm(x, groups, weight, bias, epsilon, silu);
  }
  const at::Tensor normed = at::group_norm(x, groups, weight, bias, epsilon);
  return silu ? at::silu(normed) : normed;
}

Conv2d::Conv2d(const Weights& weights, int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t padding,
               bool with_bias)
    : stride(stride), padding(padding) {
  // PyTorch's default: uniform within 1 / √fan_in.
  const Init init = Init::uniform(1.0 / std::sqrt(static_cast<double>(in * kernel * kernel)));
  std::tie(weight, in_file) = weights.get_matrix("weight", {out, in, kernel, kernel}, init);
  if (with_bias) bias = weights.get("bias", {out}, Init::zeros());
  if (weights.is_for_inference() && !in_file) packed = pack_convolution(weight, stride, padding);
  if (packed.defined()) weight.reset();
}

at::Tensor Conv2d::operator()(const at::Tensor& x) const {
  if (packed.defined()) return packed_convolution(x, packed, bias);
  if (records_gradients({x, weight, bias})) return differentiable_convolution(x, weight, bias, stride, padding);
  return at::conv2d(x, in_file ? weight.to(x.scalar_type()) : weight, bias, {stride, stride}, {padding, padding});
}

Activation activation(const std::string& name) {
  if (name == "gelu") return gelu_exact;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh") return gelu_tanh;
  if (name == "quick_gelu") return quick_gelu;
  if (name == "silu" || name == "swish") return silu;
  if (name == "relu") return relu;
  throw CheckpointError(
      describe("activation", "gelu, gelu_new, gelu_pytorch_tanh, quick_gelu, silu, swish or relu", name));
}

at::Tensor split_heads(const at::Tensor& x, int64_t heads) {
  return x.view({x.size(0), x.size(1), heads, x.size(2) / heads}).transpose(1, 2);  // [B, heads, T, D]
}

namespace {

// What our own kernel leaves (fused_attention.h) goes to libtorch's, which multiplies head by head. In bfloat16 on a
// CPU that is slow where the matrices are as small as in a training step, since setting up each of those products costs
// more than the products, and everywhere without AMX, for which alone it has a good product. Then all heads go through
// one batched product, unless their scores, which libtorch's kernel never holds, would be large.
bool prefers_batches(const at::Tensor& q, const at::Tensor& k) {
  if (!q.device().is_cpu() || q.scalar_type() != at::kBFloat16) return false;
  if (q.requires_grad()) return k.size(2) <= kFewKeys;
  static const bool amx = cpu_has_amx_bfloat16();
  constexpr int64_t kLargest = int64_t{1} << 23;
  return !amx && q.size(0) * q.size(1) * q.size(2) * k.size(2) <= kLargest;
}

at::Tensor batched_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const std::optional<at::Tensor>& mask, bool causal, double scale) {
  at::Tensor scores = at::matmul(q * scale, k.transpose(-2, -1));  // [B, heads, T_q, T_k]
  if (mask) scores = scores + *mask;
  if (causal) {
    const at::Tensor future = at::ones({q.size(2), k.size(2)}, q.options().dtype(at::kBool)).triu(1);
    scores = scores.masked_fill(future, -std::numeric_limits<float>::infinity());
  }
  return at::matmul(at::softmax(scores, -1), v);
}

}  // namespace

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const std::optional<at::Tensor>& mask, bool causal, std::optional<double> scale) {
  const double factor = scale.value_or(1.0 / std::sqrt(static_cast<double>(q.size(3))));
  if (!mask && !causal && fuses_attention(q, k, v)) {
    return records_gradients({q, k, v}) ? differentiable_attention(q, k, v, factor) : fused_attention(q, k, v, factor);
  }
  const at::Tensor mixed =  // [B, heads, T, D]
      prefers_batches(q, k) ? batched_attention(q, k, v, mask, causal, factor)
                            : at::scaled_dot_product_attention(q, k, v, mask, 0.0, causal, scale);
  return mixed.transpose(1, 2).reshape({q.size(0), q.size(2), q.size(1) * v.size(3)});
}

at::Tensor causal_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  const int64_t sequences = q.size(0), heads = q.size(1), tokens = q.size(2), width = q.size(3);
  const int64_t groups = k.size(1), shared = heads / groups, length = k.size(2);
  if (tokens == 1) {
    // Every key is seen: the queries that share keys stand for a longer text.
    const at::Tensor mixed = attention(q.view({sequences, groups, shared, width}), k, v);  // [S, shared, groups · D]
    return mixed.view({sequences, shared, groups, width}).transpose(1, 2).reshape({sequences, 1, heads * width});
  }
  const auto for_each_head = [&](const at::Tensor& x) { return shared == 1 ? x : x.repeat_interleave(shared, 1); };
  if (tokens == length) return attention(q, for_each_head(k), for_each_head(v), {}, /*causal=*/true);
  const at::Tensor future = at::ones({tokens, length}, q.options().dtype(at::kBool)).triu(length - tokens + 1);
  const at::Tensor mask =
      at::zeros({tokens, length}, q.options()).masked_fill(future, -std::numeric_limits<float>::infinity());
  return attention(q, for_each_head(k), for_each_head(v), mask);
}

}  // namespace readback::nn
