// AdamW with fp32 master weights, gradient clipping and an exponential moving average.
// Paper: https://arxiv.org/abs/1711.05101; arithmetic as torch.optim.AdamW.
#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "readback/checkpoint/safetensors.h"
#include "readback/train/options.h"

namespace readback::train {

// Parameters with settings of their own: those whose names begin with `prefix`.
struct ParameterGroup {
  std::string prefix;
  double learning_rate = 1.0;  // as a multiple of the step's
  double weight_decay = 0.01;
  bool clipped = true;  // false: neither counts in the norm that is clipped, nor is clipped
};

class AdamW {
 public:
  // Makes `parameters` leaves that gather gradients. Those of a lower precision get fp32 masters.
  // Of `groups` the first that fits a parameter counts; the others have the options' own weight decay.
  AdamW(std::map<std::string, at::Tensor> parameters, const AdamWOptions& options,
        std::vector<ParameterGroup> groups = {});

  void zero_grad();
  // One update from the gradients gathered; returns the norm of all of them before clipping. A norm that is not finite
  // leaves everything as it was.
  double step(double learning_rate);

  // What should be saved as the model: the moving average when one is kept, else the masters. fp32.
  checkpoint::TensorMap averaged() const;
  // Everything that a resume needs, under "master.", "first.", "second.", "average." and "steps".
  checkpoint::TensorMap state() const;
  void load_state(const checkpoint::TensorMap& state);  // Errors: CheckpointError

 private:
  AdamWOptions options_;
  std::vector<ParameterGroup> groups_;
  std::vector<std::string> names_;
  std::vector<size_t> group_;  // of each parameter, index into groups_
  std::vector<at::Tensor> parameters_, masters_, first_, second_, steps_, averages_;
};

// Multiplier of the learning rate: linear over `warmup` steps, then constant or half a cosine down to `floor`.
double schedule_factor(Schedule schedule, int64_t step, int64_t warmup, int64_t total, double floor);

}  // namespace readback::train
