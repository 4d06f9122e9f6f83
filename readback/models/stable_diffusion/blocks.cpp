#include "readback/models/stable_diffusion/blocks.h"

#include <ATen/ATen.h>

#include "readback/nn/differentiable.h"

namespace readback::models {

namespace {

at::Tensor resample(const at::Tensor& x, Resampling resampling) {
  if (resampling == Resampling::kNone) return x;
  if (resampling == Resampling::kHalve) return at::avg_pool2d(x, 2, 2);
  return at::upsample_nearest2d(x, {2 * x.size(2), 2 * x.size(3)});
}

}  // namespace

ResnetBlock::ResnetBlock(const nn::Weights& weights, int64_t in, int64_t out, int64_t time_channels, int64_t groups,
                         double epsilon, ResnetVariant variant)
    : variant(variant),
      norm1(weights["norm1"], groups, in, epsilon),
      norm2(weights["norm2"], groups, out, epsilon),
      conv1(weights["conv1"], in, out, 3, 1, 1),
      conv2(weights["conv2"], out, out, 3, 1, 1) {
  if (in != out) conv_shortcut = nn::Conv2d(weights["conv_shortcut"], in, out, 1);
  if (time_channels > 0) {
    time_emb_proj = nn::Linear(weights["time_emb_proj"], time_channels, variant.scale_shift ? 2 * out : out);
  }
}

at::Tensor ResnetBlock::forward(const at::Tensor& x, const at::Tensor& time) const {
  if (!time.defined()) return nn::checkpointed([this](const auto& inputs) { return compute(inputs[0], {}); }, {x});
  return nn::checkpointed([this](const auto& inputs) { return compute(inputs[0], inputs[1]); }, {x, time});
}

at::Tensor ResnetBlock::compute(const at::Tensor& x, const at::Tensor& time) const {
  at::Tensor h = conv1(resample(norm1.with_silu(x), variant.resampling));  // [B, out, H, W]
  const at::Tensor given = time.defined() ? time_emb_proj(time).unsqueeze(-1).unsqueeze(-1) : at::Tensor();
  if (variant.scale_shift) {
    const std::vector<at::Tensor> parts = given.chunk(2, 1);  // [B, out, 1, 1] each
    h = at::silu(at::addcmul(parts[1], norm2(h), 1 + parts[0]));
  } else {
    if (given.defined()) h.add_(given);  // a convolution's output is nobody else's: it may be changed in place
    h = norm2.with_silu(h);
  }
  h = conv2(h);
  const at::Tensor shortcut = resample(x, variant.resampling);
  return h.add_(conv_shortcut.weight.defined() ? conv_shortcut(shortcut) : shortcut);
}

Upsample::Upsample(const nn::Weights& weights, int64_t channels) : conv(weights["conv"], channels, channels, 3, 1, 1) {}

at::Tensor Upsample::forward(const at::Tensor& x, at::IntArrayRef size) const {
  const int64_t height = size.empty() ? 2 * x.size(2) : size[0], width = size.empty() ? 2 * x.size(3) : size[1];
  return conv(at::upsample_nearest2d(x, {height, width}));
}

MapAttention::MapAttention(const nn::Weights& weights, int64_t channels, int64_t groups, double epsilon)
    : group_norm(weights["group_norm"], groups, channels, epsilon) {
  // The names that repositories from before diffusers 0.18 carry, Stable Diffusion 1.4's among them.
  for (const char* kind : {".weight", ".bias"}) {
    weights.rename(std::string("query") + kind, std::string("to_q") + kind);
    weights.rename(std::string("key") + kind, std::string("to_k") + kind);
    weights.rename(std::string("value") + kind, std::string("to_v") + kind);
    weights.rename(std::string("proj_attn") + kind, std::string("to_out.0") + kind);
  }
  to_q = nn::Linear(weights["to_q"], channels, channels);
  to_k = nn::Linear(weights["to_k"], channels, channels);
  to_v = nn::Linear(weights["to_v"], channels, channels);
  to_out = nn::Linear(weights["to_out"]["0"], channels, channels);
}

at::Tensor MapAttention::forward(const at::Tensor& x) const {
  const int64_t height = x.size(2), width = x.size(3);
  const at::Tensor tokens = group_norm(x).flatten(2).transpose(1, 2);  // [B, H·W, C]
  const at::Tensor mixed = to_out(nn::attention(nn::split_heads(to_q(tokens), 1), nn::split_heads(to_k(tokens), 1),
                                                nn::split_heads(to_v(tokens), 1)));
  return x + mixed.transpose(1, 2).unflatten(2, {height, width});
}

}  // namespace readback::models
