// The layers that checkpoints are made of. B batch, T tokens, C channels, H × W pixels.
// All of them are differentiable; without gradients (at::NoGradGuard) they take the fused paths.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string>

#include "readback/nn/weights.h"

namespace readback::nn {

struct Linear {  // [..., in] → [..., out]
  at::Tensor weight, bias;
  at::Tensor packed;     // instead of weight after pack()
  bool in_file = false;  // weight is as the file holds it, and converted when it is used (Weights::get_matrix)
  Adapter adapter;       // with Weights::with_adapters()
  Linear() = default;
  Linear(const Weights& weights, int64_t in, int64_t out, bool with_bias = true, Init init = Init::normal(0.02));
  at::Tensor operator()(const at::Tensor& x) const;
  // For inference: gives weight up for a layout that is faster, where there is one (see packing.h). The constructor
  // does it with Weights::for_inference().
  void pack();
};

struct Embedding {  // [...] int64 → [..., width]
  at::Tensor weight;
  Embedding() = default;
  Embedding(const Weights& weights, int64_t count, int64_t width, Init init = Init::normal(0.02));
  at::Tensor operator()(const at::Tensor& ids) const;
};

struct LayerNorm {  // over the last dimension
  at::Tensor weight, bias;
  double epsilon = 1e-5;
  LayerNorm() = default;
  LayerNorm(const Weights& weights, int64_t width, double epsilon);
  at::Tensor operator()(const at::Tensor& x) const;
};

// x / √(mean of x² + ε) over the last dimension, in fp32, times a weight (https://arxiv.org/abs/1910.07467), in the
// weight's type.
struct RmsNorm {
  at::Tensor weight;
  double epsilon = 1e-6;
  RmsNorm() = default;
  RmsNorm(const Weights& weights, int64_t width, double epsilon);
  at::Tensor operator()(const at::Tensor& x) const;
};

struct GroupNorm {  // [B, C, H, W]
  at::Tensor weight, bias;
  int64_t groups = 32;
  double epsilon = 1e-5;
  GroupNorm() = default;
  GroupNorm(const Weights& weights, int64_t groups, int64_t channels, double epsilon);
  at::Tensor operator()(const at::Tensor& x) const { return apply(x, /*silu=*/false); }
  at::Tensor with_silu(const at::Tensor& x) const { return apply(x, /*silu=*/true); }  // silu of it

 private:
  at::Tensor apply(const at::Tensor& x, bool silu) const;
};

struct Conv2d {  // [B, in, H, W] → [B, out, H', W'], channels-last inside
  at::Tensor weight, bias;
  at::Tensor packed;     // instead of weight, with Weights::for_inference() (see packing.h)
  bool in_file = false;  // as Linear's
  int64_t stride = 1, padding = 0;
  Conv2d() = default;
  Conv2d(const Weights& weights, int64_t in, int64_t out, int64_t kernel, int64_t stride = 1, int64_t padding = 0,
         bool with_bias = true);
  at::Tensor operator()(const at::Tensor& x) const;
};

// Activations by transformers' names: gelu, gelu_new, gelu_pytorch_tanh, quick_gelu, silu, swish, relu.
// Errors: CheckpointError for others.
using Activation = at::Tensor (*)(const at::Tensor&);
Activation activation(const std::string& name);

// [B, T, C] → [B, heads, T, C / heads]
at::Tensor split_heads(const at::Tensor& x, int64_t heads);
// softmax(q kᵀ · scale + mask) v for q, k, v of [B, heads, T, D]; gives [B, T_q, heads · D].
// scale: 1/√D unless given. mask: additive, broadcastable to [B, heads, T_q, T_k].
at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const std::optional<at::Tensor>& mask = {}, bool causal = false, std::optional<double> scale = {});
// For decoders: the T queries are the last of the L keys, and each sees the keys up to its own. q: [S, heads, T, D];
// k, v: [S, groups, L, D], of which each serves heads / groups queries side by side; gives [S, T, heads · D].
at::Tensor causal_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);

}  // namespace readback::nn
