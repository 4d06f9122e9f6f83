// Karlo's pixel UNets, whose levels change size by resnets: the decoder (UNet2DConditionModel with attention to added
// keys and values), and the two of super-resolution (UNet2DModel without attention).
// B batch, C channels, h × w pixels, T tokens, D token width.
#pragma once
#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "readback/checkpoint/config_reader.h"
#include "readback/models/stable_diffusion/unet.h"

namespace readback::models {

struct KarloUnetConfig {
  int64_t in_channels = 3, out_channels = 3, sample_size = 64, layers_per_block = 2, norm_num_groups = 32;
  double norm_eps = 1e-5;
  bool scale_shift = false;  // how resnets take the time embedding: resnet_time_scale_shift
  std::vector<int64_t> block_out_channels;
  std::vector<bool> down_attention, up_attention;  // which levels have attention
  bool mid_attention = false;
  int64_t cross_attention_dim = 0, attention_head_dim = 8;  // D; channels of a head

 protected:
  void read_levels(checkpoint::ConfigReader& config, const std::string& down_with, const std::string& up_with);
};

struct KarloDecoderConfig : KarloUnetConfig {
  static KarloDecoderConfig read(checkpoint::ConfigReader config);
};

struct KarloSuperResolutionConfig : KarloUnetConfig {
  static KarloSuperResolutionConfig read(checkpoint::ConfigReader config);
};

// One attention of all pixels to the tokens and to each other.
struct AddedKeyValueAttention {
  int64_t heads;
  nn::GroupNorm group_norm;
  nn::Linear to_q, to_k, to_v, add_k_proj, add_v_proj, to_out;
  AddedKeyValueAttention(const nn::Weights& weights, int64_t channels, const KarloUnetConfig& config);
  KeyValue prepare(const at::Tensor& tokens) const;  // [B, T, D]
  // mask: [B, 1, 1, T], additive, of the tokens
  at::Tensor forward(const at::Tensor& x, const KeyValue& tokens, const at::Tensor& mask) const;  // [B, C, h, w] → same

 private:
  at::Tensor compute(const at::Tensor& x, const at::Tensor& key, const at::Tensor& value, const at::Tensor& mask) const;
};

struct KarloLevel {
  std::vector<ResnetBlock> resnets;
  std::vector<AddedKeyValueAttention> attentions;  // empty, or one per resnet; of the middle one less
  std::optional<ResnetBlock> resampler;            // to the next level's size
};

// What the decoder reads beside the sample, the same in all steps. Empty for super-resolution.
struct KarloContext {
  std::vector<KeyValue> layers;  // of each attention, in the order of the forward pass
  at::Tensor mask;               // [B, 1, 1, T], additive
  at::Tensor time;               // [B, 4 · C0], added to the timestep's embedding
  KarloContext select(const std::vector<int64_t>& rows) const;
};

struct KarloUnet {
  KarloUnetConfig config;
  nn::Conv2d conv_in, conv_out;
  nn::Linear time_linear_1, time_linear_2;
  std::vector<KarloLevel> down_blocks, up_blocks;
  KarloLevel mid_block;
  nn::GroupNorm conv_norm_out;
  KarloUnet(const KarloUnetConfig& config, const nn::Weights& weights);
  // states: [B, T, D]; tokens: bool [B, T], which of them are seen; time: [B, 4 · C0]
  KarloContext prepare(const at::Tensor& states, const at::Tensor& tokens, const at::Tensor& time) const;
  // sample: [B, in, h, w]; timesteps: [B], any numeric type → [B, out, h, w]. The levels halve h and w evenly.
  at::Tensor forward(const at::Tensor& sample, const at::Tensor& timesteps, const KarloContext& context = {}) const;
};

}  // namespace readback::models
