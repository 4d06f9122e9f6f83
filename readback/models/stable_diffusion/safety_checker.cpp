#include "readback/models/stable_diffusion/safety_checker.h"

#include <ATen/ATen.h>

namespace readback::models {

namespace {

constexpr int64_t kConcepts = 17, kSpecialConcepts = 3;
constexpr double kAdjustment = 0.01;

// transformers 4 and the hub's checkpoints nest CLIPVisionModel twice; transformers 5 does not.
nn::Weights vision_scope(const nn::Weights& weights) {
  const nn::Weights scope = weights["vision_model"];
  return scope.has("vision_model.pre_layrnorm.weight") ? scope["vision_model"] : scope;
}

// In fp32 whatever the model's type: thresholds are compared to three decimals, and bfloat16 has hardly more than two.
at::Tensor cosine(const at::Tensor& a, const at::Tensor& b) {  // [B, P], [N, P] → [B, N]
  const auto normalised = [](const at::Tensor& half) {
    const at::Tensor x = half.to(at::kFloat);
    return x / x.norm(2, {-1}, /*keepdim=*/true).clamp_min(1e-12);
  };
  return at::matmul(normalised(a), normalised(b).t());
}

// The reference compares scores rounded to three decimals.
at::Tensor above(const at::Tensor& score) { return (score * 1000).round().gt(0); }

}  // namespace

SafetyChecker::SafetyChecker(const ClipConfig& config, const nn::Weights& weights)
    : vision_model(config.vision, vision_scope(weights)),
      visual_projection(weights["visual_projection"], config.vision.hidden_size, config.projection_dim, false),
      concept_embeds(weights.get("concept_embeds", {kConcepts, config.projection_dim}, nn::Init::ones())),
      concept_embeds_weights(weights.get("concept_embeds_weights", {kConcepts}, nn::Init::ones())),
      special_care_embeds(
          weights.get("special_care_embeds", {kSpecialConcepts, config.projection_dim}, nn::Init::ones())),
      special_care_embeds_weights(weights.get("special_care_embeds_weights", {kSpecialConcepts}, nn::Init::ones())) {}

std::vector<bool> SafetyChecker::flagged(const at::Tensor& clip_input) const {
  const at::Tensor embeds = visual_projection(vision_model.forward(clip_input).pooler_output);  // [B, P]
  const at::Tensor special = cosine(embeds, special_care_embeds) - special_care_embeds_weights.to(at::kFloat);
  const at::Tensor adjustment = above(special).any(1, /*keepdim=*/true).to(at::kFloat) * kAdjustment;  // [B, 1]
  const at::Tensor concepts = cosine(embeds, concept_embeds) - concept_embeds_weights.to(at::kFloat) + adjustment;
  const at::Tensor any = above(concepts).any(1).to(at::kCPU).contiguous();  // [B]
  return std::vector<bool>(any.data_ptr<bool>(), any.data_ptr<bool>() + any.numel());
}

}  // namespace readback::models
