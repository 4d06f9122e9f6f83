// Inception's features of many pictures: what FID, KID and the Inception Score are computed from.
#pragma once
#include <c10/core/Device.h>

#include <filesystem>
#include <functional>
#include <set>
#include <span>
#include <string>

#include "readback/base/context.h"
#include "readback/models/inception/inception.h"
#include "readback/score/image/image_files.h"
#include "readback/score/image/inception_input.h"

namespace readback::score {

struct InceptionOptions {
  InceptionMode mode = InceptionMode::kTorchFidelity;
  int64_t batch_size = 32;
  // FID and KID read k2048, the Inception Score kLogitsUnbiased.
  std::set<models::InceptionLayer> layers = {models::InceptionLayer::k2048, models::InceptionLayer::kLogitsUnbiased};
};

class InceptionExtractor {
 public:
  // `weights`: as models::load_inception_tensors. Always computes in fp32. Errors: CheckpointError.
  InceptionExtractor(const std::string& weights, c10::Device device, InceptionOptions options = {});

  // A row per picture, fp32 on the CPU, for each layer of the options; pictures may differ in size. A picture's
  // features do not depend on its neighbours (beyond the last bits of fp32). Where the device's memory is full, batches
  // are smaller (base/halving.h). Errors: DataError, Interrupted, OutOfMemory, EngineError.
  models::InceptionFeatures extract(std::span<const image::Image* const> images) const;
  // Files are decoded batch by batch. Alpha is dropped, as torch-fidelity does. EXIF orientation is applied, which
  // torch-fidelity does not do.
  models::InceptionFeatures extract(std::span<const std::filesystem::path> files, const Context& context = {}) const;
  // picture(i) for i in 0 … count − 1, called from several threads, and again for batches that were too large.
  models::InceptionFeatures extract(int64_t count, const std::function<image::Image(int64_t)>& picture,
                                    const Context& context = {}) const;

  // Weights (by digest) and mode: the `source` of saved statistics of the layer with 2,048 features.
  std::string source() const;
  const InceptionOptions& options() const { return options_; }

 private:
  c10::Device device_;
  InceptionOptions options_;
  models::Inception inception_;
};

}  // namespace readback::score
