// AutoencoderKL: pictures to latents and back.
// Paper: https://arxiv.org/abs/2112.10752. Loads the `vae` folder of Stable Diffusion 1.x, 2.x and XL repositories.
// B batch, c latent channels, h × w latent positions, f = 2^(levels - 1), H = f·h, W = f·w.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "readback/checkpoint/config_reader.h"
#include "readback/models/stable_diffusion/blocks.h"

namespace readback::models {

struct VaeConfig {
  std::vector<int64_t> block_out_channels = {128, 256, 512, 512};
  int64_t layers_per_block = 2, latent_channels = 4, norm_num_groups = 32, sample_size = 512;
  int64_t in_channels = 3, out_channels = 3;
  double scaling_factor = 0.18215, shift_factor = 0;
  bool mid_block_add_attention = true, use_quant_conv = true, use_post_quant_conv = true;
  bool force_upcast = true;  // overflows in float16, by what Stable Diffusion XL's pipeline goes
  int64_t factor() const { return int64_t{1} << (block_out_channels.size() - 1); }
  static VaeConfig read(checkpoint::ConfigReader config);
};

struct VaeMiddle {
  ResnetBlock first, second;
  std::optional<MapAttention> attention;
  VaeMiddle(const nn::Weights& weights, const VaeConfig& config);
  at::Tensor forward(const at::Tensor& x) const;
};

struct VaeLevel {
  std::vector<ResnetBlock> resnets;
  std::optional<nn::Conv2d> downsample;
  std::optional<Upsample> upsample;
};

struct VaeMoments {
  at::Tensor mean, logvar;  // [B, c, h, w]; logvar clamped to [-30, 20]
};

struct Vae {
  VaeConfig config;
  nn::Conv2d encoder_conv_in, encoder_conv_out, decoder_conv_in, decoder_conv_out, quant_conv, post_quant_conv;
  std::vector<VaeLevel> down_blocks, up_blocks;
  std::optional<VaeMiddle> encoder_middle, decoder_middle;
  nn::GroupNorm encoder_norm_out, decoder_norm_out;
  Vae(const VaeConfig& config, const nn::Weights& weights);
  VaeMoments encode(const at::Tensor& pixels) const;   // [B, 3, H, W] in [-1, 1]; unscaled latents
  at::Tensor decode(const at::Tensor& latents) const;  // unscaled [B, c, h, w] → [B, 3, H, W], about [-1, 1]
};

}  // namespace readback::models
