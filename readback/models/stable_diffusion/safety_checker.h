// StableDiffusionSafetyChecker: does a picture come close to one of 17 concepts that its makers wanted blanked?
// Loads the `safety_checker` folder of Stable Diffusion repositories.
// B pictures, P projection width.
#pragma once
#include <ATen/core/Tensor.h>

#include <vector>

#include "readback/models/clip/clip.h"

namespace readback::models {

struct SafetyChecker {
  ClipVisionModel vision_model;
  nn::Linear visual_projection;
  at::Tensor concept_embeds, concept_embeds_weights;            // [17, P], [17]: a concept and its threshold
  at::Tensor special_care_embeds, special_care_embeds_weights;  // [3, P], [3]: any of these lowers all thresholds
  // `config`: as of the folder's config.json, which is a CLIP model's.
  SafetyChecker(const ClipConfig& config, const nn::Weights& weights);
  // clip_input: [B, 3, image_size, image_size], preprocessed as for CLIP → one flag a picture.
  std::vector<bool> flagged(const at::Tensor& clip_input) const;
};

}  // namespace readback::models
