#include "readback/train/unified_samples.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "readback/base/error.h"
#include "readback/train/caption_batch.h"

namespace readback::train {

UnifiedSamples::UnifiedSamples(const SampleOptions& options, const Context& context) : options_(options) {
  data::DatasetOptions dataset;
  dataset.split = options.split;
  dataset.limit = options.count > 0 ? options.first + options.count : 0;
  dataset.image_size = options.image_size;
  dataset_ = data::open_dataset(options.dataset, dataset);
  for (int64_t i = options.first; i < dataset_->size(); ++i) {
    if (!dataset_->sample(i).references.empty()) usable_.push_back(i);
  }
  if (usable_.empty()) {
    throw DataError(describe(dataset_->description(), "samples with captions", "none",
                             "A folder needs NAME.txt beside NAME.jpg, COCO files need annotations"));
  }
  if (const int64_t without = dataset_->size() - options.first - size(); without > 0) {
    context.progress().note(
        fmt::format("{}: {} samples without captions are left out", dataset_->description(), without));
  }
}

DrawnSample UnifiedSamples::draw(Random& random) const {
  const int64_t index = usable_[static_cast<size_t>(random.below(size()))];
  const std::vector<std::string> captions = dataset_->sample(index).references;
  const int64_t choice = options_.captions == Captions::kAny ? random.below(static_cast<int64_t>(captions.size())) : 0;
  return {index, prepare_caption(captions[static_cast<size_t>(choice)])};
}

at::Tensor TensorCache::get(const std::string& key, const std::function<at::Tensor()>& compute) {
  if (const auto found = kept_.find(key); found != kept_.end()) return found->second;
  const at::Tensor value = compute();
  if (const auto bytes = static_cast<int64_t>(value.nbytes()); bytes <= room_) {
    room_ -= bytes;
    kept_[key] = value;
  }
  return value;
}

}  // namespace readback::train
