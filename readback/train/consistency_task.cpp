#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "readback/base/error.h"
#include "readback/checkpoint/writer.h"
#include "readback/generate/scheduler.h"
#include "readback/generate/schedulers/lcm.h"
#include "readback/generate/stable_diffusion_index.h"
#include "readback/models/clip/clip.h"
#include "readback/models/part.h"
#include "readback/train/batches.h"
#include "readback/train/consistency.h"
#include "readback/train/latent_scenes.h"
#include "readback/train/optimizer.h"
#include "readback/train/tasks.h"

namespace readback::train {

namespace fs = std::filesystem;

namespace {

constexpr int64_t kGuidanceWidth = 256;  // of the guidance's embedding, as LCM's
const std::string kGuidanceKey = "time_embedding.cond_proj.weight";

// A Stable Diffusion generator is distilled to one that draws in few steps and is told its guidance. Its text encoder
// and VAE stay.
class ConsistencyTask : public Task {
 public:
  ConsistencyTask(const TaskOptions& options, const Machine& machine, const Context& context)
      : options_(options),
        machine_(machine),
        repository_(options.model),
        index_(generate::stable_diffusion_index(repository_)),
        scheduler_config_(generate::read_scheduler_config(repository_)),
        schedule_(generate::NoiseSchedule::from_config(scheduler_config_)),
        tokenizer_(text::load_clip_tokenizer(repository_.path() / "tokenizer")),
        text_encoder_(
            models::load_part<models::ClipTextModel>(repository_, "text_encoder", machine.device, machine.dtype)),
        teacher_(models::load_part<models::Unet>(repository_, "unet", machine.device, machine.dtype)),
        student_config_(told_guidance(teacher_.model->config)),
        student_weights_(student_start()),
        target_weights_(student_start()),
        student_(student_config_, student_weights_),
        target_(student_config_, target_weights_),
        scenes_(options, machine, repository_, "vae", *tokenizer_, text_encoder_.model->config.max_position_embeddings,
                context) {
    student_weights_.finish();
    target_weights_.finish();
    if (const int64_t most = schedule_.steps(); options.consistency.ddim_steps > most) {
      throw UsageError(
          describe("ddim_steps", fmt::format("1 to {}", most), std::to_string(options.consistency.ddim_steps)));
    }
    if (options.consistency.guidance_high < options.consistency.guidance_low) {
      throw UsageError(describe("guidance_high", fmt::format("at least {}", options.consistency.guidance_low),
                                fmt::format("{}", options.consistency.guidance_high)));
    }
    c10::NoGradGuard no_grad;
    empty_ = text_states(scenes_.empty().unsqueeze(0));
  }

  std::map<std::string, at::Tensor> parameters() const override { return student_weights_.parameters(); }

  at::Tensor loss(int64_t step, Metrics& /*metrics*/) override {
    Random random(options_.seed, Purpose::kTraining, "consistency batch", static_cast<uint64_t>(step));
    const ConsistencyOptions& options = options_.consistency;
    const int64_t count = options_.batch_size;
    at::Tensor scenes = at::empty({count}, at::kLong), ids = at::empty({count, scenes_.tokens()}, at::kLong);
    at::Tensor ddim_steps = at::empty({count}, at::kLong), guidance = at::empty({count}, at::kFloat);
    for (int64_t i = 0; i < count; ++i) {
      const LatentScenes::Row row = scenes_.draw(random);
      scenes[i] = row.scene;
      ids[i] = row.ids;
      ddim_steps[i] = random.below(options.ddim_steps);
      guidance[i] = options.guidance_low + (options.guidance_high - options.guidance_low) * random.uniform();
    }
    const at::Tensor latents = scenes_.latents(scenes, random), noise = normal_like(latents, random);
    const c10::Device device = machine_.device;
    return consistency_loss({.teacher = *teacher_.model, .student = student_, .target = target_}, schedule_, options,
                            {.latents = latents.to(device),
                             .noise = noise.to(device),
                             .ddim_steps = ddim_steps,
                             .guidance = guidance.to(device),
                             .text = text_states(ids),
                             .empty = empty_});
  }

  void updated(const AdamW& optimizer) override {
    c10::NoGradGuard no_grad;
    const checkpoint::TensorMap average = optimizer.averaged();
    for (const auto& [key, parameter] : target_weights_.parameters()) parameter.copy_(average.at(key));
  }

  void save(const fs::path& folder, const checkpoint::TensorMap& weights) const override {
    save_model(repository_.path() / "unet", folder / "unet", weights, kDiffusersFile);
    nlohmann::json unet = repository_.json("unet/config.json");
    unet["time_cond_proj_dim"] = student_config_.time_cond_proj_dim;
    checkpoint::write_json(folder / "unet" / "config.json", unet);
    save_model(repository_.path() / "vae", folder / "vae", repository_.tensors("vae"), kDiffusersFile);
    save_model(repository_.path() / "text_encoder", folder / "text_encoder", repository_.tensors("text_encoder"),
               "model.safetensors");
    copy_files(repository_.path() / "tokenizer", folder / "tokenizer");
    checkpoint::write_json(folder / "scheduler" / "scheduler_config.json", lcm_scheduler());
    nlohmann::json index = repository_.json("model_index.json");
    index["_class_name"] = "LatentConsistencyModelPipeline";
    index["scheduler"] = {"diffusers", "LCMScheduler"};
    checkpoint::write_json(folder / "model_index.json", index);
  }

 private:
  static models::UnetConfig told_guidance(models::UnetConfig config) {
    if (config.time_cond_proj_dim != 0) {
      throw UsageError(describe("model", "a generator whose guidance compares two texts",
                                "one that is told its guidance (time_cond_proj_dim)", "It is distilled already"));
    }
    config.time_cond_proj_dim = kGuidanceWidth;
    return config;
  }

  // The teacher, whom the guidance does not move yet.
  nn::Weights student_start() const {
    checkpoint::TensorMap tensors = repository_.tensors("unet");
    // Copies, since a mapped file must not be written to.
    for (auto& [key, tensor] : tensors) tensor = tensor.clone();
    tensors[kGuidanceKey] = at::zeros({student_config_.block_out_channels[0], kGuidanceWidth});
    return nn::Weights(std::move(tensors), machine_.device, machine_.dtype, repository_.name());
  }

  at::Tensor text_states(const at::Tensor& ids) const {
    c10::NoGradGuard no_grad;
    return text_encoder_.model->forward(ids.to(machine_.device)).last_hidden_state;
  }

  // The teacher's noise, and the timesteps that the student knows.
  nlohmann::json lcm_scheduler() const {
    const generate::NoiseDefaults noise;
    nlohmann::json config = {{"num_train_timesteps", schedule_.steps()},
                             {"beta_start", noise.beta_start},
                             {"beta_end", noise.beta_end},
                             {"beta_schedule", noise.beta_schedule},
                             {"prediction_type", "epsilon"}};
    for (const char* key :
         {"beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr", "prediction_type"}) {
      if (scheduler_config_.contains(key)) config[key] = scheduler_config_[key];
    }
    config["_class_name"] = "LCMScheduler";
    config["original_inference_steps"] = options_.consistency.ddim_steps;
    config["timestep_scaling"] = generate::kTimestepScaling;
    config["clip_sample"] = false;
    return config;
  }

  TaskOptions options_;
  Machine machine_;
  checkpoint::Repository repository_;
  generate::ModelIndex index_;
  nlohmann::json scheduler_config_;
  generate::NoiseSchedule schedule_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  models::Part<models::ClipTextModel> text_encoder_;
  models::Part<models::Unet> teacher_;
  models::UnetConfig student_config_;
  nn::Weights student_weights_, target_weights_;
  models::Unet student_, target_;
  LatentScenes scenes_;
  at::Tensor empty_;  // [1, T, D]: what the text encoder makes of the empty caption
};

}  // namespace

std::unique_ptr<Task> make_consistency_task(const TaskOptions& options, const Machine& machine,
                                            const Context& context) {
  return std::make_unique<ConsistencyTask>(options, machine, context);
}

}  // namespace readback::train
