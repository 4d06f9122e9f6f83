// What fine-tuning sees: rows of a picture and a caption, drawn from a data set. Each row draws from a stream of its
// own, (seed, step, row), so that neither a resume nor the number of processes that share a batch changes what is seen.
#pragma once
#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "readback/base/context.h"
#include "readback/base/random.h"
#include "readback/base/ranks.h"
#include "readback/data/dataset.h"
#include "readback/image/image.h"
#include "readback/train/unified_options.h"

namespace readback::train {

struct Picture {
  std::string name;                    // which no other picture of a training has
  std::function<image::Image()> load;  // Errors: DataError
};

struct BatchRow {
  Picture picture;
  std::string caption;
  Random random;  // what else is drawn for it
};

// The numbers of this process's rows in step `step`: of size · batch_size rows those from rank · batch_size on.
std::vector<int64_t> row_numbers(int64_t step, int64_t batch_size, const Ranks& ranks);

class UnifiedSamples {
 public:
  // Errors: UsageError, DataError (also when no sample has a caption).
  UnifiedSamples(const SampleOptions& options, const Context& context);

  // This process's rows of step `step`, drawn with replacement. Errors: DataError when no picture can be read.
  std::vector<BatchRow> rows(int64_t step, int64_t batch_size, uint64_t seed, const Ranks& ranks = {});

  int64_t size() const { return static_cast<int64_t>(usable_.size()); }
  const std::vector<int64_t>& indices() const { return usable_; }  // of the data set
  data::Sample sample(int64_t index) const { return dataset_->sample(index); }
  // Errors: DataError.
  image::Image load(int64_t index) const { return dataset_->load_image(index); }

 private:
  int64_t draw(Random& random, std::string& caption) const;
  bool readable(int64_t index);

  SampleOptions options_;
  Context context_;
  std::shared_ptr<const data::Dataset> dataset_;
  std::vector<int64_t> usable_;   // samples with captions
  std::set<int64_t> good_, bad_;  // pictures by whether they can be read
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
