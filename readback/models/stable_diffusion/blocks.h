// The blocks that diffusion models' UNets and VAEs share. B batch, C channels, H × W positions.
#pragma once
#include <ATen/core/Tensor.h>

#include "readback/nn/layers.h"

namespace readback::models {

// What a resnet does to the size, before its first convolution: halves it by means of 2 × 2, doubles it by repetition.
enum class Resampling { kNone, kHalve, kDouble };

struct ResnetVariant {
  bool scale_shift = false;  // the time embedding scales and shifts what the second norm gives, instead of being added
  Resampling resampling = Resampling::kNone;
};

// Two 3 × 3 convolutions with a shortcut; with `time_channels` the time embedding is added between them.
struct ResnetBlock {
  ResnetVariant variant;
  nn::GroupNorm norm1, norm2;
  nn::Conv2d conv1, conv2, conv_shortcut;
  nn::Linear time_emb_proj;
  ResnetBlock(const nn::Weights& weights, int64_t in, int64_t out, int64_t time_channels, int64_t groups,
              double epsilon, ResnetVariant variant = {});
  // x: [B, in, H, W]; time: silu(time embedding) of [B, time_channels], undefined without → [B, out, H, W], or the
  // size that resampling makes of it
  at::Tensor forward(const at::Tensor& x, const at::Tensor& time = {}) const;

 private:
  at::Tensor compute(const at::Tensor& x, const at::Tensor& time) const;
};

// 2 × nearest-neighbour (or to `size` where the skip connection is odd-sized) and a 3 × 3 convolution.
struct Upsample {
  nn::Conv2d conv;
  Upsample(const nn::Weights& weights, int64_t channels);
  at::Tensor forward(const at::Tensor& x, at::IntArrayRef size = {}) const;
};

// One self-attention over all positions of a feature map, as in the middle of the VAE (one head).
struct MapAttention {
  nn::GroupNorm group_norm;
  nn::Linear to_q, to_k, to_v, to_out;
  MapAttention(const nn::Weights& weights, int64_t channels, int64_t groups, double epsilon);
  at::Tensor forward(const at::Tensor& x) const;  // [B, C, H, W] → [B, C, H, W]
};

}  // namespace readback::models
