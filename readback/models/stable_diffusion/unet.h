// UNet2DConditionModel: what is the noise (or velocity) in these latents, given the text?
// Paper: https://arxiv.org/abs/2112.10752. Loads the `unet` folder of Stable Diffusion 1.x and 2.x repositories.
// B batch, c latent channels, h × w latent positions, T text tokens, D text width.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <vector>

#include "readback/checkpoint/config_reader.h"
#include "readback/models/stable_diffusion/blocks.h"

namespace readback::models {

struct UnetConfig {
  int64_t in_channels = 4, out_channels = 4, sample_size = 64, layers_per_block = 2, cross_attention_dim = 768;
  int64_t norm_num_groups = 32;
  double norm_eps = 1e-5, freq_shift = 0;
  bool flip_sin_to_cos = true, use_linear_projection = false;
  std::vector<int64_t> block_out_channels = {320, 640, 1280, 1280};
  std::vector<int64_t> attention_heads = {8, 8, 8, 8};           // per level (diffusers' attention_head_dim)
  std::vector<bool> down_attention = {true, true, true, false};  // which levels have transformers
  std::vector<bool> up_attention = {false, true, true, true};
  // As StableDiffusionPipeline sees the file: a sample_size below 64 of a diffusers before 0.9.0 is 64.
  static UnetConfig read(checkpoint::ConfigReader config);
};

// Keys and values that one cross-attention layer reads: the same for all denoising steps of a prompt.
struct KeyValue {
  at::Tensor key, value;  // [B, heads, T, width / heads]
};
using TextContext = std::vector<KeyValue>;  // one per cross-attention layer, in the order of the forward pass

// A transformer over the positions of a feature map: self-attention, cross-attention to the text, GEGLU.
struct SpatialTransformer {
  int64_t heads;
  bool linear_projection;
  nn::GroupNorm norm;
  nn::Conv2d proj_in_conv, proj_out_conv;      // Stable Diffusion 1.x
  nn::Linear proj_in_linear, proj_out_linear;  // 2.x
  nn::LayerNorm norm1, norm2, norm3;
  struct Attention {
    nn::Linear to_q, to_k, to_v, to_out;
    Attention(const nn::Weights& weights, int64_t width, int64_t context_width);
  } attn1, attn2;
  nn::Linear ff_in, ff_out;
  SpatialTransformer(const nn::Weights& weights, int64_t width, int64_t heads, const UnetConfig& config);
  KeyValue prepare(const at::Tensor& text) const;                       // [B, T, D]
  at::Tensor forward(const at::Tensor& x, const KeyValue& text) const;  // [B, C, h, w] → same

 private:
  at::Tensor compute(const at::Tensor& x, const at::Tensor& key, const at::Tensor& value) const;
};

struct UnetLevel {
  std::vector<ResnetBlock> resnets;
  std::vector<SpatialTransformer> attentions;  // empty, or one per resnet
  std::optional<nn::Conv2d> downsample;
  std::optional<Upsample> upsample;
};

struct Unet {
  UnetConfig config;
  nn::Conv2d conv_in, conv_out;
  nn::Linear time_linear_1, time_linear_2;
  std::vector<UnetLevel> down_blocks, up_blocks;
  UnetLevel mid_block;  // resnet, transformer, resnet
  nn::GroupNorm conv_norm_out;
  Unet(const UnetConfig& config, const nn::Weights& weights);
  TextContext prepare(const at::Tensor& text) const;  // [B, T, D]
  // sample: [B, c, h, w]; timesteps: [B], any numeric type → [B, c, h, w]
  at::Tensor forward(const at::Tensor& sample, const at::Tensor& timesteps, const TextContext& text) const;

 private:
  at::Tensor time_embedding(const at::Tensor& timesteps) const;  // [B] → [B, 4 · C0]
};

}  // namespace readback::models
