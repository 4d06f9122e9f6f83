// Which pictures a repository's makers wanted blanked.
#pragma once
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <memory>
#include <vector>

#include "readback/checkpoint/repository.h"
#include "readback/image/preprocess.h"
#include "readback/models/stable_diffusion/safety_checker.h"

namespace readback::generate {

// The safety checker of a pipeline, with the preprocessing that it was trained with.
class Safety {
 public:
  // The folders safety_checker and feature_extractor. Errors: CheckpointError.
  Safety(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype);
  // One answer a picture.
  std::vector<bool> flagged(const std::vector<image::Image>& pictures) const;

 private:
  std::unique_ptr<models::SafetyChecker> checker_;
  image::PreprocessOptions preprocessing_;
};

}  // namespace readback::generate
