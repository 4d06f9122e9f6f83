#include "readback/models/stable_diffusion/vae.h"

#include <ATen/ATen.h>

#include "readback/base/error.h"

namespace readback::models {

namespace {
constexpr double kEpsilon = 1e-6;  // of every norm in the VAE
}

VaeConfig VaeConfig::read(checkpoint::ConfigReader config) {
  VaeConfig c;
  c.block_out_channels = config.get("block_out_channels", std::vector<int64_t>{64});
  const auto all_are = [&](const char* key, const char* type) {
    for (const std::string& name : config.get(key, std::vector<std::string>{})) {
      if (name != type) throw CheckpointError(describe(config.where() + " " + key, type, name));
    }
  };
  all_are("down_block_types", "DownEncoderBlock2D");
  all_are("up_block_types", "UpDecoderBlock2D");
  c.layers_per_block = config.get("layers_per_block", int64_t{1});
  c.latent_channels = config.get("latent_channels", c.latent_channels);
  c.norm_num_groups = config.get("norm_num_groups", c.norm_num_groups);
  c.sample_size = config.get("sample_size", c.sample_size);
  c.in_channels = config.get("in_channels", c.in_channels);
  c.out_channels = config.get("out_channels", c.out_channels);
  c.scaling_factor = config.get("scaling_factor", c.scaling_factor);
  c.shift_factor = config.get("shift_factor", c.shift_factor);
  c.mid_block_add_attention = config.get("mid_block_add_attention", true);
  c.use_quant_conv = config.get("use_quant_conv", true);
  c.use_post_quant_conv = config.get("use_post_quant_conv", true);
  config.expect("act_fn", {"silu"});
  config.expect("latents_mean", {nullptr});
  config.expect("latents_std", {nullptr});
  c.force_upcast = config.get("force_upcast", true);
  config.finish();
  return c;
}

VaeMiddle::VaeMiddle(const nn::Weights& weights, const VaeConfig& config)
    : first(weights["resnets"]["0"], config.block_out_channels.back(), config.block_out_channels.back(), 0,
            config.norm_num_groups, kEpsilon),
      second(weights["resnets"]["1"], config.block_out_channels.back(), config.block_out_channels.back(), 0,
             config.norm_num_groups, kEpsilon) {
  if (config.mid_block_add_attention) {
    attention.emplace(weights["attentions"]["0"], config.block_out_channels.back(), config.norm_num_groups, kEpsilon);
  }
}

at::Tensor VaeMiddle::forward(const at::Tensor& x) const {
  const at::Tensor h = first.forward(x);
  return second.forward(attention ? attention->forward(h) : h);
}

Vae::Vae(const VaeConfig& config, const nn::Weights& weights) : config(config) {
  const std::vector<int64_t>& widths = config.block_out_channels;
  const int64_t groups = config.norm_num_groups, deepest = widths.back();
  const auto levels = static_cast<int64_t>(widths.size());

  const nn::Weights encoder = weights["encoder"];
  encoder_conv_in = nn::Conv2d(encoder["conv_in"], config.in_channels, widths[0], 3, 1, 1);
  for (int64_t i = 0; i < levels; ++i) {
    const nn::Weights scope = encoder["down_blocks"][i];
    VaeLevel level;
    int64_t in = widths[static_cast<size_t>(std::max<int64_t>(i - 1, 0))];
    const int64_t out = widths[static_cast<size_t>(i)];
    for (int64_t j = 0; j < config.layers_per_block; ++j, in = out) {
      level.resnets.emplace_back(scope["resnets"][j], in, out, 0, groups, kEpsilon);
    }
    if (i + 1 < levels) level.downsample.emplace(scope["downsamplers"]["0"]["conv"], out, out, 3, 2, 0);
    down_blocks.push_back(std::move(level));
  }
  encoder_middle.emplace(encoder["mid_block"], config);
  encoder_norm_out = nn::GroupNorm(encoder["conv_norm_out"], groups, deepest, kEpsilon);
  encoder_conv_out = nn::Conv2d(encoder["conv_out"], deepest, 2 * config.latent_channels, 3, 1, 1);
  if (config.use_quant_conv) {
    quant_conv = nn::Conv2d(weights["quant_conv"], 2 * config.latent_channels, 2 * config.latent_channels, 1);
  }

  if (config.use_post_quant_conv) {
    post_quant_conv = nn::Conv2d(weights["post_quant_conv"], config.latent_channels, config.latent_channels, 1);
  }
  const nn::Weights decoder = weights["decoder"];
  decoder_conv_in = nn::Conv2d(decoder["conv_in"], config.latent_channels, deepest, 3, 1, 1);
  decoder_middle.emplace(decoder["mid_block"], config);
  int64_t in = deepest;
  for (int64_t i = 0; i < levels; ++i) {
    const nn::Weights scope = decoder["up_blocks"][i];
    VaeLevel level;
    const int64_t out = widths[static_cast<size_t>(levels - 1 - i)];
    for (int64_t j = 0; j <= config.layers_per_block; ++j, in = out) {
      level.resnets.emplace_back(scope["resnets"][j], in, out, 0, groups, kEpsilon);
    }
    if (i + 1 < levels) level.upsample.emplace(scope["upsamplers"]["0"], out);
    up_blocks.push_back(std::move(level));
  }
  decoder_norm_out = nn::GroupNorm(decoder["conv_norm_out"], groups, widths[0], kEpsilon);
  decoder_conv_out = nn::Conv2d(decoder["conv_out"], widths[0], config.out_channels, 3, 1, 1);
}

VaeMoments Vae::encode(const at::Tensor& pixels) const {
  at::Tensor x = encoder_conv_in(pixels.contiguous(at::MemoryFormat::ChannelsLast));  // [B, C0, H, W]
  for (const VaeLevel& level : down_blocks) {
    for (const ResnetBlock& resnet : level.resnets) x = resnet.forward(x);
    // The reference pads right and bottom only.
    if (level.downsample) x = (*level.downsample)(at::constant_pad_nd(x, {0, 1, 0, 1}));
  }
  x = encoder_conv_out(encoder_norm_out.with_silu(encoder_middle->forward(x)));  // [B, 2c, h, w]
  if (quant_conv.weight.defined()) x = quant_conv(x);
  const std::vector<at::Tensor> halves = x.chunk(2, 1);
  return {halves[0], halves[1].clamp(-30.0, 20.0)};
}

at::Tensor Vae::decode(const at::Tensor& latents) const {
  at::Tensor x = latents.contiguous(at::MemoryFormat::ChannelsLast);
  if (post_quant_conv.weight.defined()) x = post_quant_conv(x);
  x = decoder_middle->forward(decoder_conv_in(x));  // [B, C, h, w]
  for (const VaeLevel& level : up_blocks) {
    for (const ResnetBlock& resnet : level.resnets) x = resnet.forward(x);
    if (level.upsample) x = level.upsample->forward(x);
  }
  return decoder_conv_out(decoder_norm_out.with_silu(x));
}

}  // namespace readback::models
