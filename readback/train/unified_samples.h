// A data set as unified fine-tuning reads it: pictures for both models and captions, with what frozen models make of
// them kept ready.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "readback/base/context.h"
#include "readback/base/random.h"
#include "readback/data/dataset.h"
#include "readback/image/image.h"
#include "readback/train/unified_options.h"

namespace readback::train {

struct DrawnSample {
  int64_t index = 0;  // of the data set
  std::string caption;
};

class UnifiedSamples {
 public:
  // Errors: UsageError, DataError (also when no sample has a caption).
  UnifiedSamples(const SampleOptions& options, const Context& context);

  int64_t size() const { return static_cast<int64_t>(usable_.size()); }
  DrawnSample draw(Random& random) const;                          // with replacement
  const std::vector<int64_t>& indices() const { return usable_; }  // of the data set
  data::Sample sample(int64_t index) const { return dataset_->sample(index); }
  // Errors: DataError.
  image::Image load(int64_t index) const { return dataset_->load_image(index); }

 private:
  SampleOptions options_;
  std::unique_ptr<data::Dataset> dataset_;
  std::vector<int64_t> usable_;  // samples with captions
};

// Results of frozen models by key, up to a number of bytes; what comes later is computed anew each time.
class TensorCache {
 public:
  explicit TensorCache(int64_t bytes) : room_(bytes) {}
  at::Tensor get(const std::string& key, const std::function<at::Tensor()>& compute);

 private:
  int64_t room_;
  std::unordered_map<std::string, at::Tensor> kept_;
};

}  // namespace readback::train
