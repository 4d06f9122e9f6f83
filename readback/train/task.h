// What is learned: a model, its batches and its loss. The trainer drives any of them.
#pragma once
#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "readback/base/context.h"
#include "readback/checkpoint/safetensors.h"

namespace readback::train {

using Metrics = std::vector<std::pair<std::string, double>>;  // named numbers, in the order to show them

struct TaskOptions {
  std::string task;   // vae, clip, captioner or diffusion
  std::string model;  // folder with the configuration files; weights in it are the start, else a fresh model
  std::string vae, text_encoder;  // diffusion: the trained VAE, and a CLIP repository whose text model is the start
  int64_t image_size = 32;
  int64_t batch_size = 64;
  int64_t first_scene = 0, scenes = 50000;  // which of the training split's scenes are seen
  double caption_noise = 0.0;               // captioner, diffusion: share of captions that data::noisy_caption() gives
  double unconditional = 0.1;               // diffusion: share of captions replaced by the empty one, for guidance
  double snr_gamma = 5.0;                   // diffusion: min-SNR weighting (https://arxiv.org/abs/2303.09556); 0: none
  double kl_weight = 2e-4, gradient_weight = 0.5;  // vae, per value
  double degradation = 0.5;  // clip, captioner: share of images with noise or blur, as generated pictures have
  uint64_t seed = 0;
  c10::Device device = c10::kCPU;
  c10::ScalarType dtype = c10::kFloat;
};

class Task {
 public:
  virtual ~Task() = default;
  virtual std::map<std::string, at::Tensor> parameters() const = 0;  // what is trained, by checkpoint key
  // The loss of step `step`: its batch depends on (seed, step) only. `metrics` gets the parts worth logging. Of several
  // ranks each gives its share; loss, gradients and metrics are their sums.
  virtual at::Tensor loss(int64_t step, Metrics& metrics) = 0;
  // How good `weights` (keys of parameters()) are, on data that is not trained on; the first figure decides which are
  // the best, higher is better. Empty: the task has no evaluation.
  virtual Metrics evaluate(const checkpoint::TensorMap& /*weights*/) { return {}; }
  // Writes Hugging Face repositories with `weights` (keys of parameters()): of the small world in half precision, of
  // fine-tuning in the types of the starting checkpoint.
  virtual void save(const std::filesystem::path& folder, const checkpoint::TensorMap& weights) const = 0;
};

// Errors: UsageError (unknown task), CheckpointError, DataError.
std::unique_ptr<Task> make_task(const TaskOptions& options, const Context& context);

}  // namespace readback::train
