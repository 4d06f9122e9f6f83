#include "readback/checkpoint/lora_names.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "readback/base/error.h"
#include "readback/checkpoint/ldm_names.h"

namespace readback::checkpoint {

namespace {

// Of diffusers' UNets, of the original ones, and of CLIP: words with an underscore, which kohya's names do not tell
// from a dot.
constexpr std::string_view kCompounds[] = {"down_blocks",
                                           "mid_block",
                                           "up_blocks",
                                           "transformer_blocks",
                                           "time_emb_proj",
                                           "time_embedding",
                                           "linear_1",
                                           "linear_2",
                                           "conv_in",
                                           "conv_out",
                                           "conv_shortcut",
                                           "add_embedding",
                                           "to_q",
                                           "to_k",
                                           "to_v",
                                           "to_out",
                                           "proj_in",
                                           "proj_out",
                                           "input_blocks",
                                           "middle_block",
                                           "output_blocks",
                                           "emb_layers",
                                           "in_layers",
                                           "out_layers",
                                           "time_embed",
                                           "label_emb",
                                           "text_model",
                                           "skip_connection",
                                           "text_projection",
                                           "self_attn",
                                           "q_proj",
                                           "k_proj",
                                           "v_proj",
                                           "out_proj",
                                           "token_embedding",
                                           "position_embedding",
                                           "layer_norm1",
                                           "layer_norm2",
                                           "cond_proj",
                                           "final_layer_norm"};

struct Ending {
  const char *from, *to;
};
const std::string kA = ".lora_A.weight", kB = ".lora_B.weight", kAlpha = ".alpha";
const Ending kEndings[] = {{".lora_down.weight", ".lora_A.weight"},
                           {".lora_up.weight", ".lora_B.weight"},
                           {".lora.down.weight", ".lora_A.weight"},
                           {".lora.up.weight", ".lora_B.weight"},
                           {".lora_linear_layer.down.weight", ".lora_A.weight"},
                           {".lora_linear_layer.up.weight", ".lora_B.weight"},
                           {"_lora.down.weight", "_lora.lora_A.weight"},
                           {"_lora.up.weight", "_lora.lora_B.weight"}};
// Modules of attention processors, of a UNet and of the text encoder, as the layers that they added to.
const Ending kProcessors[] = {{".processor.to_q_lora", ".to_q"},
                              {".processor.to_k_lora", ".to_k"},
                              {".processor.to_v_lora", ".to_v"},
                              {".processor.to_out_lora", ".to_out.0"}};
const Ending kTextProcessors[] = {
    {".to_q_lora", ".q_proj"}, {".to_k_lora", ".k_proj"}, {".to_v_lora", ".v_proj"}, {".to_out_lora", ".out_proj"}};
const Ending kKohyaParts[] = {{"lora_unet_", "unet"},
                              {"lora_te_", "text_encoder"},
                              {"lora_te1_", "text_encoder"},
                              {"lora_te2_", "text_encoder_2"}};
const Ending kOtherKinds[] = {{".hada_w", "a LoHa"},
                              {".lokr_w", "a LoKr"},
                              {"dora_scale", "a DoRA"},
                              {"lora_magnitude_vector", "a DoRA"},
                              {".lora_mid.", "a LoCon of Tucker's decomposition"},
                              {"lora_transformer_", "a LoRA of a diffusion transformer"},
                              {"lora_unet_double_blocks", "a LoRA of Flux"},
                              {"transformer.", "a LoRA of a diffusion transformer"},
                              {"lycoris_", "a LyCORIS of other names"},
                              {".diff", "a file of whole differences"}};

bool replace_end(std::string& name, const char* from, const char* to) {
  const std::string_view end = from;
  if (!name.ends_with(end)) return false;
  name.replace(name.size() - end.size(), end.size(), to);
  return true;
}

// "mid_block_attentions_0_proj_in" → "mid_block.attentions.0.proj_in"
std::string with_dots(std::string_view name) {
  std::string result;
  while (!name.empty()) {
    size_t length = std::min(name.find('_'), name.size());
    for (const std::string_view compound : kCompounds) {
      const bool fits = name.starts_with(compound) && (name.size() == compound.size() || name[compound.size()] == '_');
      if (fits) length = std::max(length, compound.size());
    }
    if (!result.empty()) result += '.';
    result += name.substr(0, length);
    name.remove_prefix(std::min(name.size(), length + 1));
  }
  return result;
}

constexpr int64_t kLayersPerBlock = 2;  // of every published Stable Diffusion, by which original names are counted

// Empty: not one of kohya's.
std::string of_kohya(const std::string& key) {
  const size_t dot = key.find('.');
  if (dot == std::string::npos) return "";
  for (const auto& [prefix, part] : kKohyaParts) {
    if (!key.starts_with(prefix)) continue;
    std::string module = with_dots(key.substr(std::string_view(prefix).size(), dot - std::string_view(prefix).size()));
    if (std::string_view(part) == "unet") module = unet_name_of_ldm(module, kLayersPerBlock);
    return std::string(part) + "." + module + key.substr(dot);
  }
  return "";
}

bool names_part(const std::string& key) {
  return std::ranges::any_of(std::vector<const char*>{"unet.", "text_encoder.", "text_encoder_2."},
                             [&](const char* part) { return key.starts_with(part); });
}

// Before diffusers 0.16 there were adapters of UNets only, without a word for it.
bool names_unet_module(const std::string& key) {
  return key.starts_with("down_blocks.") || key.starts_with("mid_block.") || key.starts_with("up_blocks.");
}

}  // namespace

bool is_lora(const TensorMap& tensors) {
  return !tensors.empty() && std::ranges::all_of(tensors, [](const auto& entry) {
    const std::string& key = entry.first;
    return key.find("lora") != std::string::npos || key.find("lycoris_") != std::string::npos ||
           key.find(".hada_w") != std::string::npos || key.find(".lokr_w") != std::string::npos;
  });
}

TensorMap lora_of_others(const TensorMap& tensors, const std::string& where) {
  TensorMap result;
  for (const auto& [key, tensor] : tensors) {
    for (const auto& [mark, kind] : kOtherKinds) {
      const bool begins = std::string_view(mark).ends_with('_') || std::string_view(mark) == "transformer.";
      if (begins ? key.starts_with(mark) : key.find(mark) != std::string::npos) {
        throw CheckpointError(describe(where + ": '" + key + "'", "plain LoRA of a Stable Diffusion", kind,
                                       "Merge it into a model with the program that made it, and name that model"));
      }
    }
    std::string name = of_kohya(key);
    if (name.empty()) name = names_part(key) || !names_unet_module(key) ? key : "unet." + key;
    for (const auto& [from, to] : kEndings) {
      if (replace_end(name, from, to)) break;
    }
    const std::string ending = name.ends_with(kA) ? kA : name.ends_with(kB) ? kB : name.ends_with(kAlpha) ? kAlpha : "";
    std::string module = name.substr(0, name.size() - ending.size());
    for (const auto& [from, to] : kProcessors) replace_end(module, from, to);
    if (name.starts_with("text_encoder")) {
      for (const auto& [from, to] : kTextProcessors) replace_end(module, from, to);
    }
    if (!result.emplace(module + ending, tensor).second) {
      throw CheckpointError(describe(where + ": '" + key + "'", "one tensor of each name", "two of " + module));
    }
  }
  return result;
}

}  // namespace readback::checkpoint
