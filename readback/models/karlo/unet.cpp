#include "readback/models/karlo/unet.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "readback/base/error.h"
#include "readback/models/karlo/timesteps.h"
#include "readback/nn/differentiable.h"

namespace readback::models {

// `…_with`: the names of the blocks with attention; empty where there are none.
void KarloUnetConfig::read_levels(checkpoint::ConfigReader& config, const std::string& down_with,
                                  const std::string& up_with) {
  in_channels = config.get("in_channels", in_channels);
  out_channels = config.get("out_channels", out_channels);
  sample_size = config.require<int64_t>("sample_size");
  layers_per_block = config.get("layers_per_block", layers_per_block);
  norm_num_groups = config.get("norm_num_groups", norm_num_groups);
  norm_eps = config.get("norm_eps", norm_eps);
  block_out_channels = config.require<std::vector<int64_t>>("block_out_channels");
  config.expect("resnet_time_scale_shift", {"default", "scale_shift"});
  scale_shift = config.has("resnet_time_scale_shift") && config.raw()["resnet_time_scale_shift"] == "scale_shift";

  const auto attention_of = [&](const char* key, const std::string& with, const std::string& without) {
    std::vector<bool> levels;
    for (const std::string& name : config.require<std::vector<std::string>>(key)) {
      if (name != without && (with.empty() || name != with)) {
        throw CheckpointError(
            describe(config.where() + " " + key, with.empty() ? without : with + " or " + without, name));
      }
      levels.push_back(name == with);
    }
    return levels;
  };
  down_attention = attention_of("down_block_types", down_with, "ResnetDownsampleBlock2D");
  up_attention = attention_of("up_block_types", up_with, "ResnetUpsampleBlock2D");
  const size_t levels = block_out_channels.size();
  if (levels < 1 || levels > 16 || down_attention.size() != levels || up_attention.size() != levels) {
    throw CheckpointError(describe(config.where(), "as many block types as block_out_channels, 1 to 16",
                                   std::to_string(levels) + " block_out_channels"));
  }
  if (sample_size < 1 || sample_size % (int64_t{1} << (levels - 1)) != 0) {
    throw CheckpointError(describe(config.where() + " sample_size",
                                   "a multiple of " + std::to_string(int64_t{1} << (levels - 1)),
                                   std::to_string(sample_size)));
  }
  config.expect("act_fn", {"silu"});
  config.expect("center_input_sample", {false});
  config.expect("flip_sin_to_cos", {true});
  config.expect("freq_shift", {0});
  config.expect("mid_block_scale_factor", {1});
  config.expect("time_embedding_type", {"positional"});
  for (const char* key : {"time_embedding_dim", "num_class_embeds"}) config.expect(key, {nullptr});
  config.ignore({"dropout", "downsample_padding"});  // the padding: of convolutions that these levels do not have
}

KarloDecoderConfig KarloDecoderConfig::read(checkpoint::ConfigReader config) {
  KarloDecoderConfig c;
  c.in_channels = c.out_channels = 4;  // UNet2DConditionModel's
  c.read_levels(config, "SimpleCrossAttnDownBlock2D", "SimpleCrossAttnUpBlock2D");
  c.mid_attention = true;
  c.cross_attention_dim = config.get("cross_attention_dim", int64_t{1280});
  c.attention_head_dim = config.get("attention_head_dim", c.attention_head_dim);
  std::vector<int64_t> attending = {c.block_out_channels.back()};
  for (size_t i = 0; i < c.down_attention.size(); ++i) {
    if (c.down_attention[i]) attending.push_back(c.block_out_channels[i]);
    if (c.up_attention[i]) attending.push_back(*(c.block_out_channels.rbegin() + static_cast<int64_t>(i)));
  }
  for (const int64_t channels : attending) {
    if (c.attention_head_dim < 1 || channels % c.attention_head_dim != 0) {
      throw CheckpointError(describe(
          config.where() + " attention_head_dim",
          "a divisor of the channels of each level with attention, " + std::to_string(channels) + " among them",
          std::to_string(c.attention_head_dim)));
    }
  }
  config.require<std::string>("class_embed_type");
  config.expect("class_embed_type", {"identity"});
  config.require<std::string>("mid_block_type");
  config.expect("mid_block_type", {"UNetMidBlock2DSimpleCrossAttn"});
  config.expect("resnet_skip_time_act", {false});
  config.expect("resnet_out_scale_factor", {1.0});
  config.expect("only_cross_attention", {false});
  config.expect("mid_block_only_cross_attention", {nullptr, false});
  config.expect("dual_cross_attention", {false});
  config.expect("conv_in_kernel", {3});
  config.expect("conv_out_kernel", {3});
  config.expect("attention_type", {"default"});
  config.expect("class_embeddings_concat", {false});
  for (const char* key : {"addition_embed_type", "cross_attention_norm", "encoder_hid_dim", "encoder_hid_dim_type",
                          "num_attention_heads", "time_cond_proj_dim", "time_embedding_act_fn", "timestep_post_act",
                          "addition_time_embed_dim", "projection_class_embeddings_input_dim"}) {
    config.expect(key, {nullptr});
  }
  // Of transformers that these levels do not have, and of embeddings that are refused above. upcast_attention:
  // attention accumulates in fp32 here anyway.
  config.ignore({"use_linear_projection", "transformer_layers_per_block", "reverse_transformer_layers_per_block",
                 "upcast_attention", "addition_embed_type_num_heads"});
  config.finish();
  return c;
}

KarloSuperResolutionConfig KarloSuperResolutionConfig::read(checkpoint::ConfigReader config) {
  KarloSuperResolutionConfig c;
  c.read_levels(config, "", "");
  if (config.get("add_attention", true)) {
    throw CheckpointError(describe(config.where() + " add_attention", "false", "true"));
  }
  if (config.raw().contains("mid_block_type")) config.require<std::string>("mid_block_type");  // null: no such block
  config.expect("mid_block_type", {"UNetMidBlock2D"});
  config.expect("class_embed_type", {nullptr});
  // Of layers that these levels do not have.
  config.ignore(
      {"attention_head_dim", "attn_norm_num_groups", "downsample_type", "upsample_type", "num_train_timesteps"});
  config.finish();
  return c;
}

AddedKeyValueAttention::AddedKeyValueAttention(const nn::Weights& weights, int64_t channels,
                                               const KarloUnetConfig& config)
    : heads(channels / config.attention_head_dim),
      group_norm(weights["group_norm"], config.norm_num_groups, channels, 1e-5),
      to_q(weights["to_q"], channels, channels),
      to_k(weights["to_k"], channels, channels),
      to_v(weights["to_v"], channels, channels),
      add_k_proj(weights["add_k_proj"], config.cross_attention_dim, channels),
      add_v_proj(weights["add_v_proj"], config.cross_attention_dim, channels),
      to_out(weights["to_out"]["0"], channels, channels) {}

KeyValue AddedKeyValueAttention::prepare(const at::Tensor& tokens) const {
  return {nn::split_heads(add_k_proj(tokens), heads), nn::split_heads(add_v_proj(tokens), heads)};
}

at::Tensor AddedKeyValueAttention::forward(const at::Tensor& x, const KeyValue& tokens, const at::Tensor& mask) const {
  return nn::checkpointed([this, mask](const auto& inputs) { return compute(inputs[0], inputs[1], inputs[2], mask); },
                          {x, tokens.key, tokens.value});
}

at::Tensor AddedKeyValueAttention::compute(const at::Tensor& x, const at::Tensor& key, const at::Tensor& value,
                                           const at::Tensor& mask) const {
  const int64_t height = x.size(2), width = x.size(3);
  const at::Tensor pixels = group_norm(x).flatten(2).transpose(1, 2);  // [B, h·w, C]
  const at::Tensor mixed = nn::attention(
      nn::split_heads(to_q(pixels), heads), at::cat({key, nn::split_heads(to_k(pixels), heads)}, 2),
      at::cat({value, nn::split_heads(to_v(pixels), heads)}, 2), at::constant_pad_nd(mask, {0, height * width}));
  return x + to_out(mixed).transpose(1, 2).unflatten(2, {height, width});
}

KarloContext KarloContext::select(const std::vector<int64_t>& rows) const {
  const at::Tensor index = at::tensor(rows, at::TensorOptions(at::kLong).device(mask.device()));
  KarloContext selected{.mask = mask.index_select(0, index), .time = time.index_select(0, index)};
  for (const KeyValue& layer : layers) {
    selected.layers.push_back({layer.key.index_select(0, index), layer.value.index_select(0, index)});
  }
  return selected;
}

KarloUnet::KarloUnet(const KarloUnetConfig& config, const nn::Weights& weights) : config(config) {
  const std::vector<int64_t>& widths = config.block_out_channels;
  const auto levels = static_cast<int64_t>(widths.size());
  const int64_t time_channels = 4 * widths[0];
  const auto width_of = [&](int64_t level) {
    return widths[static_cast<size_t>(std::clamp<int64_t>(level, 0, levels - 1))];
  };
  const auto resnet = [&](const nn::Weights& scope, int64_t in, int64_t out, Resampling resampling) {
    return ResnetBlock(scope, in, out, time_channels, config.norm_num_groups, config.norm_eps,
                       {config.scale_shift, resampling});
  };

  conv_in = nn::Conv2d(weights["conv_in"], config.in_channels, widths[0], 3, 1, 1);
  time_linear_1 = nn::Linear(weights["time_embedding"]["linear_1"], widths[0], time_channels);
  time_linear_2 = nn::Linear(weights["time_embedding"]["linear_2"], time_channels, time_channels);

  for (int64_t i = 0; i < levels; ++i) {
    const nn::Weights scope = weights["down_blocks"][i];
    KarloLevel level;
    int64_t in = width_of(i - 1);
    const int64_t out = width_of(i);
    for (int64_t j = 0; j < config.layers_per_block; ++j, in = out) {
      level.resnets.push_back(resnet(scope["resnets"][j], in, out, Resampling::kNone));
      if (config.down_attention[static_cast<size_t>(i)]) {
        level.attentions.emplace_back(scope["attentions"][j], out, config);
      }
    }
    if (i + 1 < levels) level.resampler = resnet(scope["downsamplers"]["0"], out, out, Resampling::kHalve);
    down_blocks.push_back(std::move(level));
  }

  const nn::Weights middle = weights["mid_block"];
  for (int64_t j = 0; j < 2; ++j) {
    mid_block.resnets.push_back(resnet(middle["resnets"][j], widths.back(), widths.back(), Resampling::kNone));
  }
  if (config.mid_attention) mid_block.attentions.emplace_back(middle["attentions"]["0"], widths.back(), config);

  int64_t in = widths.back();
  for (int64_t i = 0; i < levels; ++i) {
    const nn::Weights scope = weights["up_blocks"][i];
    const int64_t mirrored = levels - 1 - i, out = width_of(mirrored);
    KarloLevel level;
    for (int64_t j = 0; j <= config.layers_per_block; ++j, in = out) {
      // The last resnet of a level meets the skip from the level's entry.
      const int64_t skip = j == config.layers_per_block ? width_of(mirrored - 1) : out;
      level.resnets.push_back(resnet(scope["resnets"][j], in + skip, out, Resampling::kNone));
      if (config.up_attention[static_cast<size_t>(i)]) {
        level.attentions.emplace_back(scope["attentions"][j], out, config);
      }
    }
    if (i + 1 < levels) level.resampler = resnet(scope["upsamplers"]["0"], out, out, Resampling::kDouble);
    up_blocks.push_back(std::move(level));
  }
  conv_norm_out = nn::GroupNorm(weights["conv_norm_out"], config.norm_num_groups, widths[0], config.norm_eps);
  conv_out = nn::Conv2d(weights["conv_out"], widths[0], config.out_channels, 3, 1, 1);
}

KarloContext KarloUnet::prepare(const at::Tensor& states, const at::Tensor& tokens, const at::Tensor& time) const {
  KarloContext context{.mask = additive_mask(tokens, states.scalar_type()).unsqueeze(1).unsqueeze(1), .time = time};
  const auto add = [&](const KarloLevel& level) {
    for (const AddedKeyValueAttention& attention : level.attentions) {
      context.layers.push_back(attention.prepare(states));
    }
  };
  for (const KarloLevel& level : down_blocks) add(level);
  add(mid_block);
  for (const KarloLevel& level : up_blocks) add(level);
  return context;
}

at::Tensor KarloUnet::forward(const at::Tensor& sample, const at::Tensor& timesteps,
                              const KarloContext& context) const {
  const at::Tensor wave = timestep_waves(timesteps, config.block_out_channels[0]).to(time_linear_1.bias.scalar_type());
  const at::Tensor embedded = time_linear_2(at::silu(time_linear_1(wave)));
  const at::Tensor time = at::silu(context.time.defined() ? embedded + context.time : embedded);  // [B, 4 · C0]
  size_t layer = 0;                                                                               // next attention
  at::Tensor x = conv_in(sample.contiguous(at::MemoryFormat::ChannelsLast));
  std::vector<at::Tensor> skips = {x};
  const auto attend = [&](const KarloLevel& level, size_t j) {
    if (level.attentions.empty()) return;
    x = level.attentions[j].forward(x, context.layers[layer++], context.mask);
  };
  for (const KarloLevel& level : down_blocks) {
    for (size_t j = 0; j < level.resnets.size(); ++j) {
      x = level.resnets[j].forward(x, time);
      attend(level, j);
      skips.push_back(x);
    }
    if (level.resampler) skips.push_back(x = level.resampler->forward(x, time));
  }
  x = mid_block.resnets[0].forward(x, time);
  attend(mid_block, 0);
  x = mid_block.resnets[1].forward(x, time);
  for (const KarloLevel& level : up_blocks) {
    for (size_t j = 0; j < level.resnets.size(); ++j) {
      x = level.resnets[j].forward(at::cat({x, skips.back()}, 1), time);
      skips.pop_back();
      attend(level, j);
    }
    if (level.resampler) x = level.resampler->forward(x, time);
  }
  return conv_out(conv_norm_out.with_silu(x));
}

}  // namespace readback::models
