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

  const auto per_level = [&](const char* key, int64_t fallback) {  // one number, or one for each level
    if (!config.has(key) || !config.raw()[key].is_array())
      return std::vector<int64_t>(levels, config.get(key, fallback));
    const auto values = config.require<std::vector<int64_t>>(key);
    if (values.size() != levels) {
      throw CheckpointError(describe(config.where() + " " + key, "as many as block_out_channels", "another number"));
    }
    return values;
  };
  // diffusers' attention_head_dim is, for these models, the number of heads (diffusers issue 2011).
  c.attention_heads = per_level("attention_head_dim", 8);
  config.expect("mid_block_type", {"UNetMidBlock2DCrossAttn"});
  config.expect("act_fn", {"silu"});
  config.expect("center_input_sample", {false});
  config.expect("downsample_padding", {1});
  config.expect("mid_block_scale_factor", {1});
  config.expect("dual_cross_attention", {false});
  config.expect("only_cross_attention", {false});
  config.expect("mid_block_only_cross_attention", {nullptr, false});
  c.transformer_layers = per_level("transformer_layers_per_block", 1);
  c.time_cond_proj_dim = config.get("time_cond_proj_dim", c.time_cond_proj_dim);
  config.expect("addition_embed_type", {"text_time"});
  if (config.has("addition_embed_type")) {
    c.addition_time_embed_dim = config.require<int64_t>("addition_time_embed_dim");
    c.projection_class_embeddings_input_dim = config.require<int64_t>("projection_class_embeddings_input_dim");
  } else {
    config.expect("addition_time_embed_dim", {nullptr});
    config.expect("projection_class_embeddings_input_dim", {nullptr});
  }
  config.expect("resnet_time_scale_shift", {"default"});
  config.expect("resnet_skip_time_act", {false});
  config.expect("resnet_out_scale_factor", {1.0});
  config.expect("time_embedding_type", {"positional"});
  config.expect("conv_in_kernel", {3});
  config.expect("conv_out_kernel", {3});
  config.expect("attention_type", {"default"});
  config.expect("class_embeddings_concat", {false});
  for (const char* key : {"class_embed_type", "cross_attention_norm", "encoder_hid_dim", "encoder_hid_dim_type",
                          "num_attention_heads", "num_class_embeds", "time_embedding_act_fn", "time_embedding_dim",
                          "timestep_post_act", "reverse_transformer_layers_per_block"}) {
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

SpatialTransformer::Block::Block(const nn::Weights& weights, int64_t width, int64_t heads, int64_t context_width)
    : heads(heads),
      norm1(weights["norm1"], width, 1e-5),
      norm2(weights["norm2"], width, 1e-5),
      norm3(weights["norm3"], width, 1e-5),
      attn1(weights["attn1"], width, width),
      attn2(weights["attn2"], width, context_width),
      ff_in(weights["ff"]["net"]["0"]["proj"], width, 8 * width, true, linear_init(width)),
      ff_out(weights["ff"]["net"]["2"], 4 * width, width, true, linear_init(4 * width)) {}

at::Tensor SpatialTransformer::Block::forward(at::Tensor h, const KeyValue& text) const {
  const at::Tensor normed = norm1(h);
  h = h +
      attn1.to_out(nn::attention(nn::split_heads(attn1.to_q(normed), heads), nn::split_heads(attn1.to_k(normed), heads),
                                 nn::split_heads(attn1.to_v(normed), heads)));
  h = h + attn2.to_out(nn::attention(nn::split_heads(attn2.to_q(norm2(h)), heads), text.key, text.value));
  return h + ff_out(nn::gated_gelu(ff_in(norm3(h))));
}

SpatialTransformer::SpatialTransformer(const nn::Weights& weights, int64_t width, int64_t heads, int64_t layers,
                                       const UnetConfig& config)
    : linear_projection(config.use_linear_projection), norm(weights["norm"], config.norm_num_groups, width, 1e-6) {
  for (int64_t i = 0; i < layers; ++i) {
    blocks.emplace_back(weights["transformer_blocks"][i], width, heads, config.cross_attention_dim);
  }
  if (linear_projection) {
    proj_in_linear = Linear(weights["proj_in"], width, width, true, linear_init(width));
    proj_out_linear = Linear(weights["proj_out"], width, width, true, linear_init(width));
  } else {
    proj_in_conv = nn::Conv2d(weights["proj_in"], width, width, 1);
    proj_out_conv = nn::Conv2d(weights["proj_out"], width, width, 1);
  }
}

void SpatialTransformer::prepare(const at::Tensor& text, std::vector<KeyValue>& context) const {
  for (const Block& block : blocks) {
    context.push_back(
        {nn::split_heads(block.attn2.to_k(text), block.heads), nn::split_heads(block.attn2.to_v(text), block.heads)});
  }
}

at::Tensor SpatialTransformer::forward(const at::Tensor& x, std::span<const KeyValue> text) const {
  std::vector<at::Tensor> inputs = {x};
  for (const KeyValue& pair : text) inputs.insert(inputs.end(), {pair.key, pair.value});
  const auto on_inputs = [this](const auto& given) {
    std::vector<KeyValue> pairs;
    for (size_t i = 1; i < given.size(); i += 2) pairs.push_back({given[i], given[i + 1]});
    return compute(given[0], pairs);
  };
  return nn::checkpointed(on_inputs, inputs);
}

at::Tensor SpatialTransformer::compute(const at::Tensor& x, std::span<const KeyValue> text) const {
  const int64_t height = x.size(2), width = x.size(3);
  const auto as_tokens = [](const at::Tensor& map) { return map.flatten(2).transpose(1, 2); };  // [B, h·w, C]
  const auto as_map = [&](const at::Tensor& tokens) { return tokens.transpose(1, 2).unflatten(2, {height, width}); };

  at::Tensor h = norm(x);  // [B, C, h, w]
  h = linear_projection ? proj_in_linear(as_tokens(h)) : as_tokens(proj_in_conv(h));
  for (size_t i = 0; i < blocks.size(); ++i) h = blocks[i].forward(h, text[i]);
  return x + (linear_projection ? as_map(proj_out_linear(h)) : proj_out_conv(as_map(h)));
}

Unet::Unet(const UnetConfig& config, const nn::Weights& weights) : config(config) {
  const std::vector<int64_t>& widths = config.block_out_channels;
  const auto levels = static_cast<int64_t>(widths.size());
  const int64_t groups = config.norm_num_groups, time_channels = 4 * widths[0];
  const auto width_of = [&](int64_t level) {
    return widths[static_cast<size_t>(std::clamp<int64_t>(level, 0, levels - 1))];
  };
  const auto add_transformer = [&](UnetLevel& to, const nn::Weights& scope, int64_t level) {
    const auto i = static_cast<size_t>(level);
    to.attentions.emplace_back(scope, widths[i], config.attention_heads[i], config.transformer_layers[i], config);
  };

  conv_in = nn::Conv2d(weights["conv_in"], config.in_channels, widths[0], 3, 1, 1);
  time_linear_1 = Linear(weights["time_embedding"]["linear_1"], widths[0], time_channels, true, linear_init(widths[0]));
  time_linear_2 =
      Linear(weights["time_embedding"]["linear_2"], time_channels, time_channels, true, linear_init(time_channels));
  if (const int64_t width = config.time_cond_proj_dim; width > 0) {
    guidance_projection = Linear(weights["time_embedding"]["cond_proj"], width, widths[0], false, linear_init(width));
  }
  if (const int64_t width = config.projection_class_embeddings_input_dim; width > 0) {
    const nn::Weights added = weights["add_embedding"];
    added_linear_1 = Linear(added["linear_1"], width, time_channels, true, linear_init(width));
    added_linear_2 = Linear(added["linear_2"], time_channels, time_channels, true, linear_init(time_channels));
  }

  for (int64_t i = 0; i < levels; ++i) {
    const nn::Weights scope = weights["down_blocks"][i];
    UnetLevel level;
    int64_t in = width_of(i - 1);
    const int64_t out = width_of(i);
    for (int64_t j = 0; j < config.layers_per_block; ++j, in = out) {
      level.resnets.emplace_back(scope["resnets"][j], in, out, time_channels, groups, config.norm_eps);
      if (config.down_attention[static_cast<size_t>(i)]) {
        add_transformer(level, scope["attentions"][j], i);
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
  add_transformer(mid_block, middle["attentions"]["0"], levels - 1);

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
        add_transformer(level, scope["attentions"][j], mirrored);
      }
    }
    if (i + 1 < levels) level.upsample.emplace(scope["upsamplers"]["0"], out);
    up_blocks.push_back(std::move(level));
  }
  conv_norm_out = nn::GroupNorm(weights["conv_norm_out"], groups, widths[0], config.norm_eps);
  conv_out = nn::Conv2d(weights["conv_out"], widths[0], config.out_channels, 3, 1, 1);
}

namespace {

// Of latent consistency models, which are told w = scale - 1: [B] → fp32 [B, width].
at::Tensor guidance_embedding(const at::Tensor& scale, int64_t width) {
  const int64_t half = width / 2;
  // In float32 as the reference: at w = 7,500 an angle's last bits are seen.
  const float step = std::log(10000.0f) / static_cast<float>(half - 1);
  const at::Tensor exponent = at::arange(half, scale.options().dtype(at::kFloat)) * -step;
  const at::Tensor w = (scale.to(at::kFloat) - 1.0) * 1000.0;
  const at::Tensor angle = w.unsqueeze(1) * exponent.exp().unsqueeze(0);
  return at::constant_pad_nd(at::cat({angle.sin(), angle.cos()}, 1), {0, width % 2});
}

}  // namespace

UnetContext Unet::prepare(const UnetConditions& conditions) const {
  UnetContext context;
  const auto add = [&](const UnetLevel& level) {
    for (const SpatialTransformer& transformer : level.attentions) transformer.prepare(conditions.text, context.text);
  };
  for (const UnetLevel& level : down_blocks) add(level);
  add(mid_block);
  for (const UnetLevel& level : up_blocks) add(level);
  if (config.time_cond_proj_dim > 0 && conditions.guidance.defined()) {
    const at::Tensor embedding = guidance_embedding(conditions.guidance, config.time_cond_proj_dim);
    context.guidance = guidance_projection(embedding.to(conv_in.bias.options()));
  }
  if (config.projection_class_embeddings_input_dim > 0) context.added = added_embedding(conditions);
  return context;
}

at::Tensor Unet::added_embedding(const UnetConditions& conditions) const {
  const at::Tensor &text = conditions.pooled_text, &sizes = conditions.sizes;
  const int64_t wanted = config.projection_class_embeddings_input_dim;
  const bool complete = text.defined() && sizes.defined();
  const int64_t got = complete ? text.size(1) + sizes.size(1) * config.addition_time_embed_dim : 0;
  if (got != wanted) {
    throw UsageError(describe("the UNet's pooled text and sizes", std::to_string(wanted) + " values in all",
                              complete ? std::to_string(got) : "none"));
  }
  const at::Tensor of_sizes = waves(sizes.flatten(), config.addition_time_embed_dim).view({sizes.size(0), -1});
  const at::Tensor both = at::cat({text.to(at::kFloat), of_sizes.to(text.device())}, 1);
  return added_linear_2(at::silu(added_linear_1(both.to(conv_in.bias.options()))));
}

at::Tensor Unet::waves(const at::Tensor& values, int64_t width) const {
  const int64_t half = width / 2;
  const at::Tensor exponent = at::arange(half, values.options().dtype(at::kFloat)) *
                              (-std::log(10000.0) / (static_cast<double>(half) - config.freq_shift));
  const at::Tensor angle = values.to(at::kFloat).unsqueeze(1) * exponent.exp().unsqueeze(0);  // [N, width / 2]
  return config.flip_sin_to_cos ? at::cat({angle.cos(), angle.sin()}, 1) : at::cat({angle.sin(), angle.cos()}, 1);
}

at::Tensor Unet::time_embedding(const at::Tensor& timesteps, const at::Tensor& guidance) const {
  at::Tensor wave = waves(timesteps, config.block_out_channels[0]).to(conv_in.bias.scalar_type());  // [B, C0]
  if (guidance.defined()) wave = wave + guidance;
  return time_linear_2(at::silu(time_linear_1(wave)));
}

at::Tensor Unet::forward(const at::Tensor& sample, const at::Tensor& timesteps, const UnetContext& context) const {
  at::Tensor time = time_embedding(timesteps, context.guidance);
  if (context.added.defined()) time = time + context.added;
  time = at::silu(time);                          // what every resnet projects, [B, 4 · C0]
  std::span<const KeyValue> text = context.text;  // of the cross-attention layers that are still to come
  const auto attend = [&text](const SpatialTransformer& transformer, const at::Tensor& x) {
    const auto own = text.first(transformer.blocks.size());
    text = text.subspan(own.size());
    return transformer.forward(x, own);
  };
  at::Tensor x = conv_in(sample.contiguous(at::MemoryFormat::ChannelsLast));  // [B, C0, h, w]
  std::vector<at::Tensor> skips = {x};
  for (const UnetLevel& level : down_blocks) {
    for (size_t j = 0; j < level.resnets.size(); ++j) {
      x = level.resnets[j].forward(x, time);
      if (!level.attentions.empty()) x = attend(level.attentions[j], x);
      skips.push_back(x);
    }
    if (level.downsample) skips.push_back(x = (*level.downsample)(x));
  }
  x = mid_block.resnets[0].forward(x, time);
  x = attend(mid_block.attentions[0], x);
  x = mid_block.resnets[1].forward(x, time);
  for (const UnetLevel& level : up_blocks) {
    for (size_t j = 0; j < level.resnets.size(); ++j) {
      x = level.resnets[j].forward(at::cat({x, skips.back()}, 1), time);
      skips.pop_back();
      if (!level.attentions.empty()) x = attend(level.attentions[j], x);
    }
    if (level.upsample) x = level.upsample->forward(x, skips.back().sizes().slice(2));
  }
  return conv_out(conv_norm_out.with_silu(x));
}

}  // namespace readback::models
