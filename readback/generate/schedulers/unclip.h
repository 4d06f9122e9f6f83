// unCLIP's scheduler: ancestral sampling (DDPM, https://arxiv.org/abs/2006.11239) over timesteps that are skipped, with
// a variance that is fixed or predicted. Equal to diffusers' UnCLIPScheduler. Private to generate/.
#pragma once
#include <filesystem>
#include <vector>

#include "readback/checkpoint/config_reader.h"
#include "readback/generate/noise_schedule.h"
#include "readback/generate/scheduler.h"

namespace readback::generate {

// A scheduler_config.json of class UnCLIPScheduler.
struct UnclipSchedule {
  int64_t num_train_timesteps = 1000;
  bool learned_range = false;  // variance_type: of two halves of channels, the network gives its variance in the second
  double clip = 1.0;           // the range of clean samples, 0: they are not clipped
  Prediction prediction = Prediction::kEpsilon;  // or kSample
  // Errors: CheckpointError.
  static UnclipSchedule read(checkpoint::ConfigReader config);
};

class UnclipScheduler final : public Scheduler {
 public:
  // `option` names the number of steps in messages. Errors: UsageError for other than 2 … num_train_timesteps steps.
  UnclipScheduler(const UnclipSchedule& schedule, int64_t steps, const char* option = "num_inference_steps");

  // model_output: [B, c, …], with learned_range [B, 2c, …]. `noise` is called in every step but the last.
  at::Tensor step(const at::Tensor& model_output, int64_t index, const at::Tensor& sample, const Noise& noise) override;
  // What the network takes the finished sample for at forward `index`, clipped.
  at::Tensor clean(const at::Tensor& model_output, int64_t index, const at::Tensor& sample) const;

 private:
  UnclipSchedule schedule_;
  std::vector<float> betas_, alphas_cumprod_;
};

}  // namespace readback::generate
