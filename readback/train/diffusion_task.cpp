#include <ATen/ATen.h>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/generate/denoiser.h"
#include "readback/generate/noise_schedule.h"
#include "readback/models/clip/clip.h"
#include "readback/models/part.h"
#include "readback/train/batches.h"
#include "readback/train/latent_scenes.h"
#include "readback/train/tasks.h"

namespace readback::train {

namespace fs = std::filesystem;

namespace {

// The UNet and its text encoder learn to predict noise (or velocity) in scaled latents.
class DiffusionTask : public Task {
 public:
  DiffusionTask(const TaskOptions& options, const Machine& machine, const Context& context)
      : options_(options),
        machine_(machine),
        repository_(options.model),
        vae_repository_(options.vae),
        schedule_(generate::NoiseSchedule::from_config(repository_.json("scheduler/scheduler_config.json"))),
        tokenizer_(text::load_clip_tokenizer(repository_.path() / "tokenizer")),
        text_config_(models::ClipTextConfig::read(models::part_config(repository_, "text_encoder"))),
        unet_weights_(starting_weights(repository_, machine, options.seed, "unet")),
        text_weights_(text_encoder_weights()),
        text_encoder_(text_config_, text_weights_),
        unet_(models::UnetConfig::read(models::part_config(repository_, "unet")), unet_weights_),
        scenes_(options, machine, vae_repository_, "", *tokenizer_, text_config_.max_position_embeddings, context) {
    unet_weights_.finish();
    text_weights_.finish();
  }

  std::map<std::string, at::Tensor> parameters() const override {
    std::map<std::string, at::Tensor> all;
    for (const auto& [key, tensor] : unet_weights_.parameters()) all["unet." + key] = tensor;
    for (const auto& [key, tensor] : text_weights_.parameters()) all["text_encoder." + key] = tensor;
    return all;
  }

  at::Tensor loss(int64_t step, Metrics& /*metrics*/) override {
    Random random(options_.seed, Purpose::kTraining, "diffusion batch", static_cast<uint64_t>(step));
    const int64_t batch = options_.batch_size;
    at::Tensor scenes = at::empty({batch}, at::kLong), t = at::empty({batch}, at::kLong);
    at::Tensor ids = at::empty({batch, scenes_.tokens()}, at::kLong);
    for (int64_t i = 0; i < batch; ++i) {
      const LatentScenes::Row row = scenes_.draw(random);
      scenes[i] = row.scene;
      t[i] = random.below(schedule_.steps());
      ids[i] = random.uniform() < options_.unconditional ? scenes_.empty() : row.ids;
    }
    const at::Tensor latents = scenes_.latents(scenes, random);
    const at::Tensor noise = normal_like(latents, random);

    const at::Tensor noisy = schedule_.add_noise(latents, noise, t).to(machine_.device);
    const at::Tensor text = text_encoder_.forward(ids.to(machine_.device)).last_hidden_state;
    const at::Tensor predicted = generate::UnetDenoiser(unet_, text).predict(noisy, t);
    const at::Tensor target = schedule_.target(latents, noise, t).to(machine_.device);
    const at::Tensor error = (predicted - target).square().mean({1, 2, 3});  // [B]
    return (error * min_snr_weights(schedule_, t, options_.snr_gamma).to(machine_.device)).mean();
  }

  void save(const fs::path& folder, const checkpoint::TensorMap& weights) const override {
    checkpoint::TensorMap unet, text_encoder;
    for (const auto& [key, tensor] : weights) {
      if (key.starts_with("unet.")) unet[key.substr(5)] = tensor;
      if (key.starts_with("text_encoder.")) text_encoder[key.substr(13)] = tensor;
    }
    save_model(repository_.path() / "unet", folder / "unet", unet, kDiffusersFile);
    save_model(repository_.path() / "text_encoder", folder / "text_encoder", text_encoder, "model.safetensors");
    save_model(vae_repository_.path(), folder / "vae", vae_repository_.tensors(), kDiffusersFile);
    for (const char* part : {"tokenizer", "scheduler"}) copy_files(repository_.path() / part, folder / part);
    write_file(folder / "model_index.json", read_file(repository_.path() / "model_index.json"));
  }

 private:
  // The text half of a CLIP repository, its keys as CLIPTextModel's checkpoints have them ("text_model.…").
  nn::Weights text_encoder_weights() const {
    if (options_.text_encoder.empty() || fs::exists(repository_.path() / "text_encoder" / "model.safetensors")) {
      return starting_weights(repository_, machine_, options_.seed, "text_encoder");
    }
    checkpoint::TensorMap text;
    for (const auto& [key, tensor] : checkpoint::Repository(options_.text_encoder).tensors()) {
      if (key.starts_with("text_model.")) text[key] = tensor.clone();
    }
    return nn::Weights(std::move(text), machine_.device, machine_.dtype, options_.text_encoder);
  }

  TaskOptions options_;
  Machine machine_;
  checkpoint::Repository repository_, vae_repository_;
  generate::NoiseSchedule schedule_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  models::ClipTextConfig text_config_;
  nn::Weights unet_weights_, text_weights_;
  models::ClipTextModel text_encoder_;
  models::Unet unet_;
  LatentScenes scenes_;
};

}  // namespace

std::unique_ptr<Task> make_diffusion_task(const TaskOptions& options, const Machine& machine, const Context& context) {
  if (options.vae.empty()) throw UsageError(describe("vae", "the folder of a trained VAE", "nothing"));
  return std::make_unique<DiffusionTask>(options, machine, context);
}

}  // namespace readback::train
