// What is learned: a model, its batches and its loss. The trainer drives any of them.
#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "readback/base/context.h"
#include "readback/base/machine.h"
#include "readback/checkpoint/safetensors.h"
#include "readback/train/options.h"

namespace readback::train {

class AdamW;

using Metrics = std::vector<std::pair<std::string, double>>;  // named numbers, in the order to show them

class Task {
 public:
  virtual ~Task() = default;
  virtual std::map<std::string, at::Tensor> parameters() const = 0;  // what is trained, by checkpoint key
  // The loss of step `step`: its batch depends on (seed, step) only. `metrics` gets the parts worth logging. Of several
  // ranks each gives its share; loss, gradients and metrics are their sums.
  virtual at::Tensor loss(int64_t step, Metrics& metrics) = 0;
  // Told before the first step of this process and after each update, for tasks that learn from what was learned.
  virtual void updated(const AdamW& /*optimizer*/) {}
  // How good `weights` (keys of parameters()) are, on data that is not trained on; the first figure decides which are
  // the best, higher is better. Empty: the task has no evaluation.
  virtual Metrics evaluate(const checkpoint::TensorMap& /*weights*/) { return {}; }
  // Writes Hugging Face repositories with `weights` (keys of parameters()): of the small world in half precision, of
  // fine-tuning in the types of the starting checkpoint.
  virtual void save(const std::filesystem::path& folder, const checkpoint::TensorMap& weights) const = 0;
};

// Errors: UsageError, CheckpointError, DataError.
std::unique_ptr<Task> make_task(const TaskOptions& options, const Machine& machine, const Context& context);

}  // namespace readback::train
