// What a training is asked to do: how it goes, and which model of the small world it makes. unified_options.h has what
// fine-tuning adds. Each struct names the file where its options take effect.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>

#include "readback/base/options.h"

namespace readback::train {

// optimizer.cpp. AdamW: https://arxiv.org/abs/1711.05101
struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0.01;
  double clip_norm = 1.0;
  double ema_decay = 0.0;

  static constexpr auto options() {
    using O = AdamWOptions;
    return std::tuple(
        option(&O::beta1, "beta1", "Of the mean of gradients", share_below_one()),
        option(&O::beta2, "beta2", "Of the mean of their squares", share_below_one()),
        option(&O::epsilon, "epsilon", "Added to the root of that mean", more_than(0)),
        option(&O::weight_decay, "weight_decay", "Share of a weight, times the rate", at_least(0)),
        option(&O::clip_norm, "clip_norm", "Of all gradients together; 0: none", at_least(0)),
        option(&O::ema_decay, "ema_decay", "Of the moving average that is saved; 0: none", share_below_one()));
  }
};

enum class Schedule { kConstant, kCosine };
constexpr std::array<const char*, 2> names_of(Schedule) { return {"constant", "cosine"}; }

// trainer.cpp, of train and finetune
struct TrainOptions {
  int64_t steps = 1000;
  double learning_rate = 1e-3, final_learning_rate = 0.01;
  int64_t warmup = 100;
  Schedule schedule = Schedule::kCosine;
  int64_t accumulation = 1;
  AdamWOptions optimizer;
  int64_t evaluate_every = 0;
  int64_t patience = 0;
  int64_t log_every = 20;
  double checkpoint_seconds = 60;

  static constexpr auto options() {
    using O = TrainOptions;
    return std::tuple(
        option(&O::steps, "steps", "Updates", at_least(1)),
        option(&O::learning_rate, "learning_rate", "The highest", more_than(0)),
        option(&O::final_learning_rate, "final_learning_rate", "cosine: the last rate as a share of the highest",
               {0, 1}),
        option(&O::warmup, "warmup", "Updates in which the rate rises from 0", at_least(0)),
        option(&O::schedule, "schedule", "Of the learning rate after warm-up"),
        option(&O::accumulation, "accumulation", "Batches whose mean gradient makes an update", at_least(1)),
        nested(&O::optimizer, "optimizer"),
        option(&O::evaluate_every, "evaluate_every", "Updates between two evaluations, the first before any; 0: none",
               at_least(0)),
        option(&O::patience, "patience", "Evaluations without a new best that end it; 0: never", at_least(0)),
        option(&O::log_every, "log_every", "Updates; two in a row are logged", at_least(1), Scope::kExecution),
        option(&O::checkpoint_seconds, "checkpoint_seconds",
               "Between two saved states; one is saved at the end and when stopped too", at_least(0),
               Scope::kExecution));
  }
};

// consistency.cpp
struct ConsistencyOptions {
  int64_t ddim_steps = 50;
  double guidance_low = 2.0, guidance_high = 9.0;
  double huber_c = 0.001;

  static constexpr auto options() {
    using O = ConsistencyOptions;
    return std::tuple(
        option(&O::ddim_steps, "ddim_steps", "consistency: in how many the teacher draws; the student skips them",
               at_least(1)),
        option(&O::guidance_low, "guidance_low", "consistency: least guidance scale that the student learns",
               at_least(1)),
        option(&O::guidance_high, "guidance_high", "consistency: highest one", at_least(1)),
        option(&O::huber_c, "huber_c", "consistency: c of the pseudo-Huber loss; 0: squared error", at_least(0)));
  }
};

enum class TaskKind {
  kVae,
  kClip,
  kCaptioner,
  kDiffusion,
  kConsistency,
  kLanguageModel,
  kFlamingo,
  kUnclipPrior,
  kUnclipDecoder,
  kUnclipSuperResolution
};
constexpr std::array<const char*, 10> names_of(TaskKind) {
  return {"vae",
          "clip",
          "captioner",
          "diffusion",
          "consistency",
          "language-model",
          "flamingo",
          "unclip-prior",
          "unclip-decoder",
          "unclip-super-resolution"};
}

// A model of the small world, for train alone. vae_task.cpp, clip_task.cpp, captioner_task.cpp, diffusion_task.cpp,
// consistency_task.cpp, flamingo_task.cpp, unclip_task.cpp
struct TaskOptions {
  std::optional<TaskKind> task;
  std::string model;
  std::string vae, text_encoder, clip;
  int64_t image_size = 32;
  int64_t batch_size = 64;
  int64_t first_scene = 0, scenes = 50000;
  double caption_noise = 0.0;
  double unconditional = 0.1;
  double snr_gamma = 5.0;
  double kl_weight = 2e-4, gradient_weight = 0.5;
  double degradation = 0.5;
  ConsistencyOptions consistency;
  uint64_t seed = 0;

  static constexpr auto options() {
    using O = TaskOptions;
    return std::tuple(
        option(&O::task, "task", "What is trained"),
        option(
            &O::model, "model",
            "Folder of configuration files; weights in it are the start, else a fresh model. consistency: the teacher"),
        option(&O::vae, "vae", "diffusion: the trained VAE's folder"),
        option(&O::text_encoder, "text_encoder", "diffusion: CLIP repository whose text model is the start"),
        option(&O::clip, "clip", "unclip-…: CLIP repository that the model is made for, unless it has one in it"),
        option(&O::image_size, "image_size", "Side of a scene in pixels", at_least(1)),
        option(&O::batch_size, "batch_size", "Scenes", at_least(1)),
        option(&O::first_scene, "first_scene", "Of the training split's: the first that is seen", at_least(0)),
        option(&O::scenes, "scenes", "How many of the training split's scenes are seen", at_least(1)),
        option(&O::caption_noise, "caption_noise",
               "captioner, diffusion, consistency: share of captions as the web has them: wrong, partly wrong or terse",
               {0, 1}),
        option(&O::unconditional, "unconditional", "diffusion: share of empty captions, for guidance", {0, 1}),
        option(&O::snr_gamma, "snr_gamma", "diffusion: min-SNR weighting (https://arxiv.org/abs/2303.09556); 0: none",
               at_least(0)),
        option(&O::kl_weight, "kl_weight", "vae: weight of the KL term, per value", at_least(0)),
        option(&O::gradient_weight, "gradient_weight", "vae: weight of the edge term, per value", at_least(0)),
        option(&O::degradation, "degradation",
               "clip, captioner, flamingo: share of images with noise or blur, as generated pictures have", {0, 1}),
        nested(&O::consistency, "consistency"), option(&O::seed, "seed", "Of everything that is drawn"));
  }
};

}  // namespace readback::train
