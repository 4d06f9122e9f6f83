#include "readback/checkpoint/lavis_names.h"

#include <ATen/ATen.h>

#include <string>

#include "readback/base/error.h"

namespace readback::checkpoint {

namespace {

// A part of a name, from one dot to another, and what stands in its place.
struct Renaming {
  const char *from, *to;
};

constexpr Renaming kVision[] = {
    {"visual_encoder.cls_token", "vision_model.embeddings.class_embedding"},
    {"visual_encoder.pos_embed", "vision_model.embeddings.position_embedding"},
    {"visual_encoder.patch_embed.proj", "vision_model.embeddings.patch_embedding"},
    {"visual_encoder.norm", "vision_model.post_layernorm"},
    {"visual_encoder.blocks", "vision_model.encoder.layers"},
    {"ln_vision", "vision_model.post_layernorm"},  // of BLIP-2
};
constexpr Renaming kVisionLayer[] = {
    {"norm1", "layer_norm1"}, {"norm2", "layer_norm2"}, {"attn.proj", "self_attn.projection"}, {"attn", "self_attn"}};
constexpr Renaming kBlip2[] = {{"Qformer.bert.embeddings.LayerNorm", "qformer.layernorm"},
                               {"Qformer.bert", "qformer"},
                               {"attention.self", "attention.attention"},
                               {"crossattention.self", "crossattention.attention"},
                               {"opt_proj", "language_projection"},
                               {"t5_proj", "language_projection"},
                               {"opt_model", "language_model"},
                               {"t5_model", "language_model"}};

void rename(std::string& name, const Renaming& renaming) {
  const std::string_view from = renaming.from;
  for (size_t at = name.find(from); at != std::string::npos; at = name.find(from, at + 1)) {
    const size_t end = at + from.size();
    const bool whole = (at == 0 || name[at - 1] == '.') && (end == name.size() || name[end] == '.');
    if (!whole) continue;
    name.replace(at, from.size(), renaming.to);
    return;
  }
}

std::string vision_name(std::string name) {
  for (const Renaming& renaming : kVision) rename(name, renaming);
  if (!name.starts_with("vision_model.encoder.layers.")) return name;
  for (const Renaming& renaming : kVisionLayer) {
    const std::string before = name;
    rename(name, renaming);
    if (name != before) break;
  }
  return name;
}

bool is_vision(const std::string& key) { return key.starts_with("visual_encoder.") || key.starts_with("ln_vision."); }

}  // namespace

TensorMap blip_of_lavis(const TensorMap& tensors) {
  TensorMap result;
  for (const auto& [key, tensor] : tensors) {
    if (key.starts_with("visual_encoder.")) result[vision_name(key)] = tensor;
    if (key.starts_with("text_decoder.")) result[key] = tensor;
  }
  return result;
}

TensorMap blip2_of_lavis(const TensorMap& tensors) {
  const std::string query_bias = ".attn.q_bias", value_bias = ".attn.v_bias";
  TensorMap result;
  for (const auto& [key, tensor] : tensors) {
    // The language-model head of the Q-Former and what its first stage of pre-training had.
    if (key.starts_with("Qformer.cls.") || key == "Qformer.bert.embeddings.position_ids") continue;
    if (!is_vision(key)) {
      std::string name = key;
      for (const Renaming& renaming : kBlip2) rename(name, renaming);
      result[name] = tensor;
      continue;
    }
    if (key.ends_with(value_bias)) continue;
    if (!key.ends_with(query_bias)) {
      result[vision_name(key)] = tensor;
      continue;
    }
    const std::string attention = key.substr(0, key.size() - query_bias.size());
    const auto values = tensors.find(attention + value_bias);
    if (values == tensors.end() || values->second.sizes() != tensor.sizes()) {
      throw CheckpointError(describe(key, "a bias of values beside it, of the same shape", "none"));
    }
    result[vision_name(attention + ".attn.qkv.bias")] = at::cat({tensor, at::zeros_like(tensor), values->second});
  }
  return result;
}

}  // namespace readback::checkpoint
