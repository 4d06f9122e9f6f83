#include "readback/models/karlo/text_projection.h"

#include <ATen/ATen.h>

namespace readback::models {

TextProjectionConfig TextProjectionConfig::read(checkpoint::ConfigReader config) {
  TextProjectionConfig c;
  c.clip_extra_context_tokens = config.get("clip_extra_context_tokens", c.clip_extra_context_tokens);
  c.clip_embeddings_dim = config.get("clip_embeddings_dim", c.clip_embeddings_dim);
  c.time_embed_dim = config.require<int64_t>("time_embed_dim");
  c.cross_attention_dim = config.require<int64_t>("cross_attention_dim");
  config.finish();
  return c;
}

TextProjection::TextProjection(const TextProjectionConfig& config, const nn::Weights& weights)
    : config(config),
      learned_classifier_free_guidance_embeddings(
          weights.get("learned_classifier_free_guidance_embeddings", {config.clip_embeddings_dim}, nn::Init::zeros())),
      embedding_proj(weights["embedding_proj"], config.clip_embeddings_dim, config.time_embed_dim),
      clip_image_embeddings_project_to_time_embeddings(weights["clip_image_embeddings_project_to_time_embeddings"],
                                                       config.clip_embeddings_dim, config.time_embed_dim),
      clip_extra_context_tokens_proj(weights["clip_extra_context_tokens_proj"], config.clip_embeddings_dim,
                                     config.clip_extra_context_tokens * config.cross_attention_dim),
      encoder_hidden_states_proj(weights["encoder_hidden_states_proj"], config.clip_embeddings_dim,
                                 config.cross_attention_dim),
      text_encoder_hidden_states_norm(weights["text_encoder_hidden_states_norm"], config.cross_attention_dim, 1e-5) {}

DecoderConditions TextProjection::forward(const at::Tensor& image_embeds, const at::Tensor& text_embeds,
                                          const at::Tensor& text_states) const {
  const at::Tensor image_tokens = clip_extra_context_tokens_proj(image_embeds)
                                      .view({image_embeds.size(0), config.cross_attention_dim, -1})
                                      .transpose(1, 2);  // [B, extra, D]
  const at::Tensor text_tokens = text_encoder_hidden_states_norm(encoder_hidden_states_proj(text_states));
  return {at::cat({image_tokens, text_tokens}, 1),
          clip_image_embeddings_project_to_time_embeddings(image_embeds) + embedding_proj(text_embeds)};
}

}  // namespace readback::models
