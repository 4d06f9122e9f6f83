#include "readback/models/stable_diffusion/unet.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "readback/base/error.h"
#include "readback/nn/differentiable.h"

namespace readback::models {

using nn::Linear;

namespace {

// Whether the file was saved by a diffusers older than 0.9.0. A file that does not say is taken as newer.
bool is_before_0_9(checkpoint::ConfigReader& config) {
  const auto version = config.get<std::string>("_diffusers_version", "");
  int major = 0, minor = 0;
  if (version.empty()) return false;
  if (std::sscanf(version.c_str(), "%d.%d", &major, &minor) < 1)
    throw CheckpointError(describe(config.where() + ": _diffusers_version", "a version such as 0.42.1", version));
  return major == 0 && minor < 9;
}

// The first releases named the blocks "UNetResDownBlock2D" and so on.
std::string block_name(const std::string& name) {
  const std::string old = "UNetRes";
  return name.starts_with(old) ? name.substr(old.size()) : name;
}

}  // namespace

UnetConfig UnetConfig::read(checkpoint::ConfigReader config) {
  UnetConfig c;
  c.in_channels = config.get("in_channels", c.in_channels);
  c.out_channels = config.get("out_channels", c.out_channels);
  c.sample_size = config.get("sample_size", c.sample_size);
  // Stable Diffusion 1's first files state 32 for models of 64, which StableDiffusionPipeline puts right.
  if (is_before_0_9(config)) c.sample_size = std::max<int64_t>(c.sample_size, 64);
  c.layers_per_block = config.get("layers_per_block", c.layers_per_block);
  c.cross_attention_dim = config.get("cross_attention_dim", int64_t{1280});
  c.norm_num_groups = config.get("norm_num_groups", c.norm_num_groups);
  c.norm_eps = config.get("norm_eps", c.norm_eps);
  c.freq_shift = config.get("freq_shift", c.freq_shift);
  c.flip_sin_to_cos = config.get("flip_sin_to_cos", c.flip_sin_to_cos);
  c.use_linear_projection = config.get("use_linear_projection", c.use_linear_projection);
  c.block_out_channels = config.get("block_out_channels", c.block_out_channels);

  const auto attention_of = [&](const char* key, const std::string& with, const std::string& without,
                                const std::vector<bool>& fallback) {
    if (!config.has(key)) return (config.ignore({key}), fallback);
    std::vector<bool> levels;
    for (const std::string& name : config.require<std::vector<std::string>>(key)) {
      const std::string block = block_name(name);
      if (block != with && block != without) {
        throw CheckpointError(describe(config.where() + " " + key, with + " or " + without, name));
      }
      levels.push_back(block == with);
    }
    return levels;
  };
  c.down_attention = attention_of("down_block_types", "CrossAttnDownBlock2D", "DownBlock2D", c.down_attention);
  c.up_attention = attention_of("up_block_types", "CrossAttnUpBlock2D", "UpBlock2D", c.up_attention);
  const size_t levels = c.block_out_channels.size();
  if (c.down_attention.size() != levels || c.up_attention.size() != levels) {
    throw CheckpointError(describe(config.where(), "as many block types as block_out_channels", ""));
  }

  // diffusers' attention_head_dim is, for these models, the number of heads (diffusers issue 2011).
  if (config.has("attention_head_dim") && config.raw()["attention_head_dim"].is_array()) {
    c.attention_heads = config.require<std::vector<int64_t>>("attention_head_dim");
  } else {
    c.attention_heads.assign(levels, config.get("attention_head_dim", int64_t{8}));
  }
  config.expect("mid_block_type", {"UNetMidBlock2DCrossAttn"});
  config.expect("act_fn", {"silu"});
  config.expect("center_input_sample", {false});
  config.expect("downsample_padding", {1});
  config.expect("mid_block_scale_factor", {1});
  config.expect("dual_cross_attention", {false});
  config.expect("only_cross_attention", {false});
  config.expect("mid_block_only_cross_attention", {nullptr, false});
  config.expect("transformer_layers_per_block", {1});
  config.expect("resnet_time_scale_shift", {"default"});
  config.expect("resnet_skip_time_act", {false});
  config.expect("resnet_out_scale_factor", {1.0});
  config.expect("time_embedding_type", {"positional"});
  config.expect("conv_in_kernel", {3});
  config.expect("conv_out_kernel", {3});
  config.expect("attention_type", {"default"});
  config.expect("class_embeddings_concat", {false});
  for (const char* key :
       {"addition_embed_type", "class_embed_type", "cross_attention_norm", "encoder_hid_dim", "encoder_hid_dim_type",
        "num_attention_heads", "num_class_embeds", "time_cond_proj_dim", "time_embedding_act_fn", "time_embedding_dim",
        "timestep_post_act", "reverse_transformer_layers_per_block", "addition_time_embed_dim",
        "projection_class_embeddings_input_dim"}) {
    config.expect(key, {nullptr});
  }
  // upcast_attention: attention accumulates in fp32 here anyway. The embeds of "heads" are unused without a type.
  config.ignore({"upcast_attention", "addition_embed_type_num_heads", "dropout"});
  config.finish();
  return c;
}

SpatialTransformer::Attention::Attention(const nn::Weights& weights, int64_t width, int64_t context_width)
    : to_q(weights["to_q"], width, width, false),
      to_k(weights["to_k"], context_width, width, false),
      to_v(weights["to_v"], context_width, width, false),
      to_out(weights["to_out"]["0"], width, width) {}

namespace {

// PyTorch's default initial scale of a linear layer: uniform within 1 / √in.
nn::Init linear_init(int64_t in) { return nn::Init::uniform(1.0 / std::sqrt(static_cast<double>(in))); }

}  // namespace

SpatialTransformer::SpatialTransformer(const nn::Weights& weights, int64_t width, int64_t heads,
                                       const UnetConfig& config)
    : heads(heads),
      linear_projection(config.use_linear_projection),
      norm(weights["norm"], config.norm_num_groups, width, 1e-6),
      norm1(weights["transformer_blocks"]["0"]["norm1"], width, 1e-5),
      norm2(weights["transformer_blocks"]["0"]["norm2"], width, 1e-5),
      norm3(weights["transformer_blocks"]["0"]["norm3"], width, 1e-5),
      attn1(weights["transformer_blocks"]["0"]["attn1"], width, width),
      attn2(weights["transformer_blocks"]["0"]["attn2"], width, config.cross_attention_dim),
      ff_in(weights["transformer_blocks"]["0"]["ff"]["net"]["0"]["proj"], width, 8 * width, true, linear_init(width)),
      ff_out(weights["transformer_blocks"]["0"]["ff"]["net"]["2"], 4 * width, width, true, linear_init(4 * width)) {
  if (linear_projection) {
    proj_in_linear = Linear(weights["proj_in"], width, width, true, linear_init(width));
    proj_out_linear = Linear(weights["proj_out"], width, width, true, linear_init(width));
  } else {
    proj_in_conv = nn::Conv2d(weights["proj_in"], width, width, 1);
    proj_out_conv = nn::Conv2d(weights["proj_out"], width, width, 1);
  }
}

KeyValue SpatialTransformer::prepare(const at::Tensor& text) const {
  return {nn::split_heads(attn2.to_k(text), heads), nn::split_heads(attn2.to_v(text), heads)};
}

at::Tensor SpatialTransformer::forward(const at::Tensor& x, const KeyValue& text) const {
  return nn::checkpointed([this](const auto& inputs) { return compute(inputs[0], inputs[1], inputs[2]); },
                          {x, text.key, text.value});
}

at::Tensor SpatialTransformer::compute(const at::Tensor& x, const at::Tensor& key, const at::Tensor& value) const {
  const int64_t height = x.size(2), width = x.size(3);
  const auto as_tokens = [](const at::Tensor& map) { return map.flatten(2).transpose(1, 2); };  // [B, h·w, C]
  const auto as_map = [&](const at::Tensor& tokens) { return tokens.transpose(1, 2).unflatten(2, {height, width}); };

  at::Tensor h = norm(x);  // [B, C, h, w]
  h = linear_projection ? proj_in_linear(as_tokens(h)) : as_tokens(proj_in_conv(h));
  const at::Tensor normed = norm1(h);
  h = h +
      attn1.to_out(nn::attention(nn::split_heads(attn1.to_q(normed), heads), nn::split_heads(attn1.to_k(normed), heads),
                                 nn::split_heads(attn1.to_v(normed), heads)));
  h = h + attn2.to_out(nn::attention(nn::split_heads(attn2.to_q(norm2(h)), heads), key, value));
  h = h + ff_out(nn::gated_gelu(ff_in(norm3(h))));
  return x + (linear_projection ? as_map(proj_out_linear(h)) : proj_out_conv(as_map(h)));
}

Unet::Unet(const UnetConfig& config, const nn::Weights& weights) : config(config) {
  const std::vector<int64_t>& widths = config.block_out_channels;
  const auto levels = static_cast<int64_t>(widths.size());
  const int64_t groups = config.norm_num_groups, time_channels = 4 * widths[0];
  const auto width_of = [&](int64_t level) {
    return widths[static_cast<size_t>(std::clamp<int64_t>(level, 0, levels - 1))];
  };
  const auto heads_of = [&](int64_t level) { return config.attention_heads[static_cast<size_t>(level)]; };

  conv_in = nn::Conv2d(weights["conv_in"], config.in_channels, widths[0], 3, 1, 1);
  time_linear_1 = Linear(weights["time_embedding"]["linear_1"], widths[0], time_channels, true, linear_init(widths[0]));
  time_linear_2 =
      Linear(weights["time_embedding"]["linear_2"], time_channels, time_channels, true, linear_init(time_channels));

  for (int64_t i = 0; i < levels; ++i) {
    const nn::Weights scope = weights["down_blocks"][i];
    UnetLevel level;
    int64_t in = width_of(i - 1);
    const int64_t out = width_of(i);
    for (int64_t j = 0; j < config.layers_per_block; ++j, in = out) {
      level.resnets.emplace_back(scope["resnets"][j], in, out, time_channels, groups, config.norm_eps);
      if (config.down_attention[static_cast<size_t>(i)]) {
        level.attentions.emplace_back(scope["attentions"][j], out, heads_of(i), config);
      }
    }
    if (i + 1 < levels) level.downsample.emplace(scope["downsamplers"]["0"]["conv"], out, out, 3, 2, 1);
    down_blocks.push_back(std::move(level));
  }

  const nn::Weights middle = weights["mid_block"];
  const int64_t deepest = widths.back();
  for (int64_t j = 0; j < 2; ++j) {
    mid_block.resnets.emplace_back(middle["resnets"][j], deepest, deepest, time_channels, groups, config.norm_eps);
  }
  mid_block.attentions.emplace_back(middle["attentions"]["0"], deepest, heads_of(levels - 1), config);

  int64_t in = deepest;
  for (int64_t i = 0; i < levels; ++i) {
    const nn::Weights scope = weights["up_blocks"][i];
    const int64_t mirrored = levels - 1 - i, out = width_of(mirrored);
    UnetLevel level;
    for (int64_t j = 0; j <= config.layers_per_block; ++j, in = out) {
      // The last resnet of a level meets the skip from the level's entry.
      const int64_t skip = j == config.layers_per_block ? width_of(mirrored - 1) : out;
      level.resnets.emplace_back(scope["resnets"][j], in + skip, out, time_channels, groups, config.norm_eps);
      if (config.up_attention[static_cast<size_t>(i)]) {
        level.attentions.emplace_back(scope["attentions"][j], out, heads_of(mirrored), config);
      }
    }
    if (i + 1 < levels) level.upsample.emplace(scope["upsamplers"]["0"], out);
    up_blocks.push_back(std::move(level));
  }
  conv_norm_out = nn::GroupNorm(weights["conv_norm_out"], groups, widths[0], config.norm_eps);
  conv_out = nn::Conv2d(weights["conv_out"], widths[0], config.out_channels, 3, 1, 1);
}

TextContext Unet::prepare(const at::Tensor& text) const {
  TextContext context;
  const auto add = [&](const UnetLevel& level) {
    for (const SpatialTransformer& transformer : level.attentions) context.push_back(transformer.prepare(text));
  };
  for (const UnetLevel& level : down_blocks) add(level);
  add(mid_block);
  for (const UnetLevel& level : up_blocks) add(level);
  return context;
}

at::Tensor Unet::time_embedding(const at::Tensor& timesteps) const {
  const int64_t half = config.block_out_channels[0] / 2;
  const at::Tensor exponent = at::arange(half, timesteps.options().dtype(at::kFloat)) *
                              (-std::log(10000.0) / (static_cast<double>(half) - config.freq_shift));
  const at::Tensor angle = timesteps.to(at::kFloat).unsqueeze(1) * exponent.exp().unsqueeze(0);  // [B, C0 / 2]
  const at::Tensor wave = config.flip_sin_to_cos ? at::cat({angle.cos(), angle.sin()}, 1)
                                                 : at::cat({angle.sin(), angle.cos()}, 1);  // [B, C0]
  return time_linear_2(at::silu(time_linear_1(wave.to(conv_in.bias.scalar_type()))));
}

at::Tensor Unet::forward(const at::Tensor& sample, const at::Tensor& timesteps, const TextContext& text) const {
  const at::Tensor time = at::silu(time_embedding(timesteps));  // what every resnet projects, [B, 4 · C0]
  size_t layer = 0;                                             // next cross-attention layer
  at::Tensor x = conv_in(sample.contiguous(at::MemoryFormat::ChannelsLast));  // [B, C0, h, w]
  std::vector<at::Tensor> skips = {x};
  for (const UnetLevel& level : down_blocks) {
    for (size_t j = 0; j < level.resnets.size(); ++j) {
      x = level.resnets[j].forward(x, time);
      if (!level.attentions.empty()) x = level.attentions[j].forward(x, text[layer++]);
      skips.push_back(x);
    }
    if (level.downsample) skips.push_back(x = (*level.downsample)(x));
  }
  x = mid_block.resnets[0].forward(x, time);
  x = mid_block.attentions[0].forward(x, text[layer++]);
  x = mid_block.resnets[1].forward(x, time);
  for (const UnetLevel& level : up_blocks) {
    for (size_t j = 0; j < level.resnets.size(); ++j) {
      x = level.resnets[j].forward(at::cat({x, skips.back()}, 1), time);
      skips.pop_back();
      if (!level.attentions.empty()) x = level.attentions[j].forward(x, text[layer++]);
    }
    if (level.upsample) x = level.upsample->forward(x, skips.back().sizes().slice(2));
  }
  return conv_out(conv_norm_out.with_silu(x));
}

}  // namespace readback::models
