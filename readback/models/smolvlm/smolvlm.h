// SmolVLM (https://arxiv.org/abs/2504.05299): SigLIP's patches, four by four in one token, stand in a LLaMA's text.
// Loads HuggingFaceTB/SmolVLM-256M, -500M and SmolVLM2 repositories.
// S sequences, T tokens, C width; N pictures or parts of pictures, L tokens of each, P patches, Cv their width.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "readback/checkpoint/config_reader.h"
#include "readback/models/clip/clip.h"
#include "readback/models/llama/llama.h"
#include "readback/nn/layers.h"

namespace readback::models {

struct SmolVlmConfig {
  LlamaConfig text;
  ClipVisionConfig vision;  // its sizes
  int64_t scale_factor = 2, image_token_id = 128257;
  bool tie_word_embeddings = false;
  int64_t image_tokens() const;  // L
  static SmolVlmConfig read(checkpoint::ConfigReader config);
};

struct SmolVlmVisionModel {
  ClipVisionConfig config;
  nn::Conv2d patch_embedding;
  nn::Embedding position_embedding;
  std::vector<ClipEncoderLayer> layers;
  nn::LayerNorm post_layernorm;
  at::Tensor positions;  // int64 [P]
  SmolVlmVisionModel(const ClipVisionConfig& config, const nn::Weights& weights);
  at::Tensor forward(const at::Tensor& pixel_values) const;  // [N, 3, image_size, image_size] → [N, P, Cv]
};

struct SmolVlm {
  SmolVlmConfig config;
  SmolVlmVisionModel vision_model;
  nn::Linear connector;
  Llama text;
  nn::Linear lm_head;
  SmolVlm(const SmolVlmConfig& config, const nn::Weights& weights);

  at::Tensor image_tokens(const at::Tensor& patches) const;         // [N, P, Cv] → [N, L, C]
  at::Tensor image_features(const at::Tensor& pixel_values) const;  // [N, 3, H, W] → [N, L, C]
  // ids: int64 [S, T], in which image_token_id stands for the features' rows [N · L, C] in their order → [S, T, C].
  // Errors: UsageError unless there are as many.
  at::Tensor embeddings(const at::Tensor& ids, const at::Tensor& features) const;
  at::Tensor logits(const at::Tensor& hidden) const { return lm_head(hidden); }
  at::Tensor forward(const at::Tensor& pixel_values, const at::Tensor& ids) const;  // [S, T, V]; differentiable
};

}  // namespace readback::models
