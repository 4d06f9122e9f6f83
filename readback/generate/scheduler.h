// The steps from noise to a latent, equal to diffusers' schedulers.
#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "readback/generate/noise_schedule.h"

namespace readback::checkpoint {
class Repository;
}

namespace readback::generate {

// One object per sampling run (it remembers earlier model outputs); a batch of samples may share it.
//
//   auto scheduler = make_scheduler("", config, 50);
//   x = noise * scheduler->init_noise_sigma();
//   for (int64_t i = 0; i < scheduler->size(); ++i)
//     x = scheduler->step(model(scheduler->scale_model_input(x, i), scheduler->timesteps()[i]), i, x, draw_noise);
class Scheduler {
 public:
  using Noise = std::function<at::Tensor()>;  // standard normal, of the sample's shape, device and dtype

  virtual ~Scheduler() = default;

  // What the network is told at each forward, in order; more entries than inference steps for PNDM, fractions for
  // Euler.
  const std::vector<float>& timesteps() const { return timesteps_; }
  int64_t size() const { return static_cast<int64_t>(timesteps_.size()); }
  // Noise levels before each forward and after the last one; empty for PNDM, DDIM, DDPM and LCM, which count in ᾱ.
  const std::vector<float>& sigmas() const { return sigmas_; }
  // Standard deviation of the initial noise.
  float init_noise_sigma() const { return init_noise_sigma_; }
  // The training's noise, as this class reads the configuration.
  const NoiseSchedule& schedule() const { return schedule_; }

  // The sample as the network wants to see it at forward `index`.
  virtual at::Tensor scale_model_input(const at::Tensor& sample, int64_t /*index*/) const { return sample; }
  // The sample after forward `index`; call with 0, 1, 2 … in order. `noise` is called by samplers that add noise only,
  // once a step at most.
  virtual at::Tensor step(const at::Tensor& model_output, int64_t index, const at::Tensor& sample,
                          const Noise& noise) = 0;

 protected:
  std::vector<float> timesteps_, sigmas_;
  float init_noise_sigma_ = 1.0f;
  NoiseSchedule schedule_;
};

// `name`: one of scheduler_names(), or empty for the configuration's own _class_name.
// The configuration may be that of any diffusers scheduler class: what the wanted class does not know is dropped and
// what is absent gets the wanted class's default, exactly as its from_config does. Keys that no class knows are errors.
// Errors: UsageError (name, number of steps), CheckpointError (configuration).
std::unique_ptr<Scheduler> make_scheduler(const std::string& name, const nlohmann::json& scheduler_config,
                                          int64_t num_inference_steps);

// The names that make_scheduler takes.
const std::vector<std::string>& scheduler_names();
// The name for a configuration's _class_name, e.g. "pndm"; empty when there is no such scheduler here.
std::string scheduler_name(const nlohmann::json& scheduler_config);

// The configuration that StableDiffusionPipeline gives to the scheduler `chosen` ("": the repository's own). It
// overrides two options of the scheduler that a repository brings. One that is chosen instead is made by from_config,
// which takes the repository's values, if it states any, and else has its own defaults.
nlohmann::json pipeline_scheduler_config(nlohmann::json config, const std::string& chosen);

// A pipeline's scheduler/scheduler_config.json, in which diffusers writes infinities as -Infinity, which is not JSON.
// Its _class_name is the one that the pipeline's model_index.json states, where that states one: diffusers goes by it,
// as by from_config. Errors: CheckpointError.
nlohmann::json read_scheduler_config(const std::filesystem::path& path);
nlohmann::json read_scheduler_config(const checkpoint::Repository& repository);

}  // namespace readback::generate
