#include "readback/generate/safety.h"

#include <ATen/ATen.h>

#include "readback/models/part.h"

namespace readback::generate {

Safety::Safety(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype)
    : checker_(models::load_part<models::SafetyChecker, models::ClipConfig>(repository, "safety_checker", device, dtype)
                   .model),
      preprocessing_(image::read_preprocess_options(repository, "feature_extractor")) {}

std::vector<bool> Safety::flagged(const std::vector<image::Image>& pictures) const {
  std::vector<at::Tensor> pixels;
  for (const image::Image& picture : pictures) pixels.push_back(image::preprocess(picture, preprocessing_));
  return checker_->flagged(at::stack(pixels).to(checker_->concept_embeds.options()));
}

}  // namespace readback::generate
