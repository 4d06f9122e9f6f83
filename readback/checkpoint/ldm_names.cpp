#include "readback/checkpoint/ldm_names.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <vector>

#include "readback/base/error.h"

namespace readback::checkpoint {

namespace {

// An exact beginning of a name, and what stands in its place.
struct Renaming {
  const char *from, *to;
};

constexpr Renaming kUnet[] = {{"time_embed.0", "time_embedding.linear_1"},
                              {"time_embed.2", "time_embedding.linear_2"},
                              {"label_emb.0.0", "add_embedding.linear_1"},
                              {"label_emb.0.2", "add_embedding.linear_2"},
                              {"input_blocks.0.0", "conv_in"},
                              {"out.0", "conv_norm_out"},
                              {"out.2", "conv_out"},
                              {"middle_block.1", "mid_block.attentions.0"}};
constexpr Renaming kUnetResnet[] = {{"in_layers.0", "norm1"},          {"in_layers.2", "conv1"},
                                    {"emb_layers.1", "time_emb_proj"}, {"out_layers.0", "norm2"},
                                    {"out_layers.3", "conv2"},         {"skip_connection", "conv_shortcut"}};
constexpr Renaming kVae[] = {{"norm_out", "conv_norm_out"},
                             {"mid.block_1.nin_shortcut", "mid_block.resnets.0.conv_shortcut"},
                             {"mid.block_2.nin_shortcut", "mid_block.resnets.1.conv_shortcut"},
                             {"mid.block_1", "mid_block.resnets.0"},
                             {"mid.block_2", "mid_block.resnets.1"},
                             {"mid.attn_1.norm", "mid_block.attentions.0.group_norm"},
                             {"mid.attn_1.q", "mid_block.attentions.0.to_q"},
                             {"mid.attn_1.k", "mid_block.attentions.0.to_k"},
                             {"mid.attn_1.v", "mid_block.attentions.0.to_v"},
                             {"mid.attn_1.proj_out", "mid_block.attentions.0.to_out.0"}};
constexpr Renaming kOpenClip[] = {{"token_embedding", "text_model.embeddings.token_embedding"},
                                  {"positional_embedding", "text_model.embeddings.position_embedding.weight"},
                                  {"ln_final", "text_model.final_layer_norm"}};
constexpr Renaming kOpenClipLayer[] = {{"ln_1", "layer_norm1"},
                                       {"ln_2", "layer_norm2"},
                                       {"mlp.c_fc", "mlp.fc1"},
                                       {"mlp.c_proj", "mlp.fc2"},
                                       {"attn.out_proj", "self_attn.out_proj"}};

// `name` by the first line of `table` that it begins with, up to a dot; unchanged where there is none.
template <size_t count>
std::string renamed(const std::string& name, const Renaming (&table)[count]) {
  for (const auto& [from, to] : table) {
    const std::string_view begin = from;
    const bool fits = name.starts_with(begin) && (name.size() == begin.size() || name[begin.size()] == '.');
    if (fits) return to + name.substr(begin.size());
  }
  return name;
}

// Takes "12" from the front of "12.0.weight", and the dot behind it.
std::optional<int64_t> take_number(std::string_view& name) {
  int64_t number = 0;
  const char* const end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data(), end, number);
  if (error != std::errc() || number < 0 || (stop != end && *stop != '.')) return std::nullopt;
  name.remove_prefix(static_cast<size_t>(stop - name.data()) + (stop == end ? 0 : 1));
  return number;
}

bool take(std::string_view& name, std::string_view begin) {
  if (!name.starts_with(begin)) return false;
  name.remove_prefix(begin.size());
  return true;
}

std::string numbered(const char* list, int64_t index, const std::string& rest) {
  return rest.empty() ? fmt::format("{}.{}", list, index) : fmt::format("{}.{}.{}", list, index, rest);
}

// What a block of input_blocks or output_blocks holds, besides sampling: 0 a resnet, 1 a transformer.
std::string block_part(int64_t part, int64_t layer, const std::string& rest) {
  return part == 0 ? numbered("resnets", layer, renamed(rest, kUnetResnet)) : numbered("attentions", layer, rest);
}

// Blocks of the first level are 0 … n, the next ones n + 1 …; the last of a level samples down. Before them is the
// first convolution, input_blocks.0.
int64_t layers_per_block(const TensorMap& tensors) {
  int64_t blocks = 0, first_sampling = 0;
  for (const auto& [key, tensor] : tensors) {
    std::string_view rest = key;
    if (!take(rest, "input_blocks.")) continue;
    const auto block = take_number(rest);
    if (!block) continue;
    blocks = std::max(blocks, *block);
    if (rest.starts_with("0.op.") && (first_sampling == 0 || *block < first_sampling)) first_sampling = *block;
  }
  return std::max<int64_t>(1, first_sampling == 0 ? blocks : first_sampling - 1);
}

std::string vae_name(const std::string& name, int64_t levels) {
  for (const std::string side : {"encoder.", "decoder."}) {
    if (!name.starts_with(side)) continue;
    const std::string inner = name.substr(side.size());
    std::string_view rest = inner;
    const bool down = take(rest, "down.");
    if (!down && !take(rest, "up.")) return side + renamed(inner, kVae);
    const auto stored = take_number(rest);
    if (!stored) return name;
    // The decoder's levels are counted from the finest.
    const std::string level =
        fmt::format("{}{}_blocks.{}.", side, down ? "down" : "up", down ? *stored : levels - 1 - *stored);
    if (take(rest, down ? "downsample." : "upsample.")) {
      return level + (down ? "downsamplers.0." : "upsamplers.0.") + std::string(rest);
    }
    if (!take(rest, "block.")) return name;
    const auto resnet = take_number(rest);
    constexpr Renaming kShortcut[] = {{"nin_shortcut", "conv_shortcut"}};
    return resnet ? level + numbered("resnets", *resnet, renamed(std::string(rest), kShortcut)) : name;
  }
  return name;
}

void put(TensorMap& tensors, const std::string& key, const at::Tensor& tensor) {
  if (!tensors.emplace(key, tensor).second) {
    throw CheckpointError(describe("names of the original Stable Diffusion", "one tensor for each of diffusers'",
                                   "two for '" + key + "'"));
  }
}

}  // namespace

std::string unet_name_of_ldm(const std::string& name, int64_t layers_per_block) {
  if (const std::string found = renamed(name, kUnet); found != name) return found;
  std::string_view rest = name;
  if (take(rest, "middle_block.")) {
    const auto part = take_number(rest);
    if (part != 0 && part != 2) return name;
    return "mid_block." + numbered("resnets", *part / 2, renamed(std::string(rest), kUnetResnet));
  }
  const bool input = take(rest, "input_blocks.");
  if (!input && !take(rest, "output_blocks.")) return name;
  const auto block = take_number(rest), part = take_number(rest);
  if (!block || !part) return name;
  const int64_t index = *block - (input ? 1 : 0), level = index / (layers_per_block + 1),
                layer = index % (layers_per_block + 1);
  const std::string begin = fmt::format("{}_blocks.{}.", input ? "down" : "up", level);
  constexpr Renaming kDownsampling[] = {{"op", "conv"}};
  const std::string inner(rest), sampled = renamed(inner, kDownsampling);
  if (input && sampled != inner) return begin + numbered("downsamplers", 0, sampled);
  if (!input && (*part == 2 || inner.starts_with("conv"))) return begin + numbered("upsamplers", 0, inner);
  return begin + block_part(*part, layer, inner);
}

TensorMap unet_of_ldm(const TensorMap& tensors) {
  const int64_t layers = layers_per_block(tensors);
  TensorMap result;
  for (const auto& [key, tensor] : tensors) put(result, unet_name_of_ldm(key, layers), tensor);
  return result;
}

TensorMap vae_of_ldm(const TensorMap& tensors) {
  int64_t levels = 0;
  for (const auto& [key, tensor] : tensors) {
    std::string_view rest = key;
    if (!take(rest, "decoder.up.")) continue;
    if (const auto level = take_number(rest)) levels = std::max(levels, *level + 1);
  }
  TensorMap result;
  for (const auto& [key, tensor] : tensors) {
    if (key.starts_with("loss.")) continue;  // of its training
    const std::string name = vae_name(key, levels);
    // Attention was made of 1 × 1 convolutions.
    const bool as_convolution = name.find(".attentions.") != std::string::npos && tensor.dim() > 2;
    put(result, name, as_convolution ? tensor.flatten(1) : tensor);
  }
  return result;
}

TensorMap text_encoder_of_open_clip(const TensorMap& tensors, int64_t layers, bool with_projection) {
  TensorMap result;
  for (const auto& [key, tensor] : tensors) {
    std::string_view rest = key;
    if (key == "logit_scale") continue;  // of its training with pictures
    if (key == "text_projection") {
      if (with_projection) put(result, "text_projection.weight", tensor.t().contiguous());
      continue;
    }
    if (!take(rest, "transformer.resblocks.")) {
      put(result, renamed(key, kOpenClip), tensor);
      continue;
    }
    const auto layer = take_number(rest);
    if (layer && *layer >= layers) continue;
    const std::string begin = layer ? fmt::format("text_model.encoder.layers.{}.", *layer) : key;
    const bool weight = rest == "attn.in_proj_weight";
    if (!weight && rest != "attn.in_proj_bias") {
      put(result, begin + renamed(std::string(rest), kOpenClipLayer), tensor);
      continue;
    }
    if (tensor.dim() == 0 || tensor.size(0) % 3 != 0) {
      throw CheckpointError(describe(key, "queries, keys and values one below the other", "another shape"));
    }
    const int64_t width = tensor.size(0) / 3;
    for (const auto& [place, name] : {std::pair(0, "q"), std::pair(1, "k"), std::pair(2, "v")}) {
      put(result, begin + "self_attn." + name + (weight ? "_proj.weight" : "_proj.bias"),
          tensor.narrow(0, place * width, width));
    }
  }
  return result;
}

}  // namespace readback::checkpoint
