// UNet2DConditionModel: what is the noise (or velocity) in these latents, given the text?
// Papers: https://arxiv.org/abs/2112.10752, https://arxiv.org/abs/2307.01952 (XL), https://arxiv.org/abs/2310.04378
// (latent consistency models). Loads the `unet` folder of Stable Diffusion 1.x, 2.x and XL repositories.
// B batch, c latent channels, h × w latent positions, T text tokens, D text width, P width of a pooled text.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "readback/checkpoint/config_reader.h"
#include "readback/models/stable_diffusion/blocks.h"

namespace readback::models {

struct UnetConfig {
  int64_t in_channels = 4, out_channels = 4, sample_size = 64, layers_per_block = 2, cross_attention_dim = 768;
  int64_t norm_num_groups = 32;
  int64_t time_cond_proj_dim = 0;  // width of the guidance's embedding; 0: the network is not told its guidance
  // Widths of a size's embedding and of all six beside a pooled text; 0: the network reads neither
  // (addition_embed_type)
  int64_t addition_time_embed_dim = 0, projection_class_embeddings_input_dim = 0;
  double norm_eps = 1e-5, freq_shift = 0;
  bool flip_sin_to_cos = true, use_linear_projection = false;
  std::vector<int64_t> block_out_channels = {320, 640, 1280, 1280};
  std::vector<int64_t> attention_heads = {8, 8, 8, 8};           // per level (diffusers' attention_head_dim)
  std::vector<int64_t> transformer_layers = {1, 1, 1, 1};        // per level, of each of its transformers
  std::vector<bool> down_attention = {true, true, true, false};  // which levels have transformers
  std::vector<bool> up_attention = {false, true, true, true};
  // As StableDiffusionPipeline sees the file: a sample_size below 64 of a diffusers before 0.9.0 is 64.
  static UnetConfig read(checkpoint::ConfigReader config);
};

// Keys and values that one cross-attention layer reads: the same for all denoising steps of a prompt.
struct KeyValue {
  at::Tensor key, value;  // [B, heads, T, width / heads]
};

// What a picture is drawn by. What the network does not read may be left out.
struct UnetConditions {
  at::Tensor text;         // [B, T, D]
  at::Tensor guidance;     // [B]: the scale of the guidance that the network was distilled with
  at::Tensor pooled_text;  // [B, P]
  at::Tensor sizes;        // [B, 6], pixels: the original's height and width, the crop's top and left, height and width
};

// What the network makes of the conditions, the same for all denoising steps.
struct UnetContext {
  std::vector<KeyValue> text;  // one per cross-attention layer, in the order of the forward pass
  at::Tensor guidance;         // [B, C0], undefined without
  at::Tensor added;            // [B, 4 · C0], of pooled text and sizes, undefined without
};

// A transformer over the positions of a feature map: self-attention, cross-attention to the text, GEGLU.
struct SpatialTransformer {
  struct Attention {
    nn::Linear to_q, to_k, to_v, to_out;
    Attention(const nn::Weights& weights, int64_t width, int64_t context_width);
  };
  struct Block {
    int64_t heads;
    nn::LayerNorm norm1, norm2, norm3;
    Attention attn1, attn2;
    nn::Linear ff_in, ff_out;
    Block(const nn::Weights& weights, int64_t width, int64_t heads, int64_t context_width);
    at::Tensor forward(at::Tensor h, const KeyValue& text) const;  // [B, h·w, C] → same
  };
  bool linear_projection;
  nn::GroupNorm norm;
  nn::Conv2d proj_in_conv, proj_out_conv;      // Stable Diffusion 1.x
  nn::Linear proj_in_linear, proj_out_linear;  // 2.x and XL
  std::vector<Block> blocks;
  SpatialTransformer(const nn::Weights& weights, int64_t width, int64_t heads, int64_t layers,
                     const UnetConfig& config);
  // What its blocks read of the text, behind what `context` has. text: [B, T, D]
  void prepare(const at::Tensor& text, std::vector<KeyValue>& context) const;
  // x: [B, C, h, w] → same; `text`: one for each block
  at::Tensor forward(const at::Tensor& x, std::span<const KeyValue> text) const;

 private:
  at::Tensor compute(const at::Tensor& x, std::span<const KeyValue> text) const;
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
  nn::Linear time_linear_1, time_linear_2, guidance_projection, added_linear_1, added_linear_2;
  std::vector<UnetLevel> down_blocks, up_blocks;
  UnetLevel mid_block;  // resnet, transformer, resnet
  nn::GroupNorm conv_norm_out;
  Unet(const UnetConfig& config, const nn::Weights& weights);
  // Errors: UsageError where pooled text or sizes are missing or are not as wide as the network reads them.
  UnetContext prepare(const UnetConditions& conditions) const;
  // sample: [B, c, h, w]; timesteps: [B], any numeric type → [B, c, h, w]
  at::Tensor forward(const at::Tensor& sample, const at::Tensor& timesteps, const UnetContext& context) const;

 private:
  // [B], and [B, C0] or nothing → [B, 4 · C0]
  at::Tensor time_embedding(const at::Tensor& timesteps, const at::Tensor& guidance) const;
  at::Tensor waves(const at::Tensor& values, int64_t width) const;     // [N] → fp32 [N, width]
  at::Tensor added_embedding(const UnetConditions& conditions) const;  // [B, 4 · C0]
};

}  // namespace readback::models
