#include "readback/train/unified_samples.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <numeric>

#include "readback/base/error.h"
#include "readback/train/caption_batch.h"

namespace readback::train {

std::vector<int64_t> row_numbers(int64_t step, int64_t batch_size, const Ranks& ranks) {
  std::vector<int64_t> numbers(static_cast<size_t>(batch_size));
  std::iota(numbers.begin(), numbers.end(), (step * ranks.size() + ranks.rank()) * batch_size);
  return numbers;
}

UnifiedSamples::UnifiedSamples(const SampleOptions& options, const Context& context)
    : options_(options), context_(context) {
  data::DatasetOptions dataset;
  dataset.split = options.split;
  dataset.first = options.first;
  dataset.limit = options.count;
  dataset.image_size = options.image_size;
  dataset_ = data::open_dataset(options.dataset, dataset);
  for (int64_t i = 0; i < dataset_->size(); ++i) {
    const data::Sample sample = dataset_->sample(i);
    if (!sample.references.empty() && sample.has_image()) usable_.push_back(i);
  }
  if (usable_.empty()) {
    throw DataError(describe(dataset_->description(), "images with captions", "none",
                             "A folder needs NAME.txt beside NAME.jpg, COCO files need annotations"));
  }
  if (const int64_t without = dataset_->size() - size(); without > 0) {
    context.progress().note(
        fmt::format("{}: {} samples without image or captions are left out", dataset_->description(), without));
  }
}

std::vector<BatchRow> UnifiedSamples::rows(int64_t step, int64_t batch_size, uint64_t seed, const Ranks& ranks) {
  std::vector<BatchRow> rows;
  for (const int64_t number : row_numbers(step, batch_size, ranks)) {
    Random random(seed, Purpose::kTraining, "unified row", static_cast<uint64_t>(number));
    std::string caption;
    int64_t index = draw(random, caption);
    while (!readable(index)) index = draw(random, caption);
    const Picture picture{std::to_string(index), [dataset = dataset_, index] { return dataset->load_image(index); }};
    rows.push_back({picture, std::move(caption), random});
  }
  return rows;
}

// A sample's index in the data set.
int64_t UnifiedSamples::draw(Random& random, std::string& caption) const {
  const int64_t index = usable_[static_cast<size_t>(random.below(size()))];
  const std::vector<std::string> captions = dataset_->sample(index).references;
  const int64_t choice = options_.captions == Captions::kAny ? random.below(static_cast<int64_t>(captions.size())) : 0;
  caption = prepare_caption(captions[static_cast<size_t>(choice)]);
  return index;
}

// A bad sample does not end the run; another is drawn in its place.
bool UnifiedSamples::readable(int64_t index) {
  if (good_.contains(index)) return true;
  if (bad_.contains(index)) return false;
  try {
    load(index);
    good_.insert(index);
    return true;
  } catch (const DataError& error) {
    bad_.insert(index);
    if (std::ssize(bad_) == size()) throw;
    context_.progress().warn(error.what());
    return false;
  }
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
