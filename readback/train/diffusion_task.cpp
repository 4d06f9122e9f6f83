#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/generate/denoiser.h"
#include "readback/generate/noise_schedule.h"
#include "readback/generate/picture_codec.h"
#include "readback/models/clip/clip.h"
#include "readback/models/part.h"
#include "readback/train/batches.h"
#include "readback/train/tasks.h"

namespace readback::train {

namespace fs = std::filesystem;

namespace {

constexpr const char* kUnetFile = "diffusion_pytorch_model.safetensors";

// The frozen VAE's view of a fixed set of training scenes, computed once: latents, and the tokens of all phrasings.
struct SceneCache {
  at::Tensor mean, deviation;  // [N, c, h, w], scaled
  at::Tensor ids;              // int64 [N, 5, T]
  at::Tensor empty;            // int64 [T]: the empty caption's
};

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
        unet_(models::UnetConfig::read(models::part_config(repository_, "unet")), unet_weights_) {
    unet_weights_.finish();
    text_weights_.finish();
    cache_ = encode_scenes(context);
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
    at::Tensor ids = at::empty({batch, cache_.ids.size(2)}, at::kLong);
    for (int64_t i = 0; i < batch; ++i) {
      const int64_t scene = random.below(options_.scenes);
      const bool noisy = options_.caption_noise > 0 && random.uniform() < options_.caption_noise;
      const at::Tensor text = noisy ? tokens({data::noisy_caption(scene_at(scene), random)})[0]
                                    : cache_.ids[scene][static_cast<int64_t>(draw_phrasing(random))];
      scenes[i] = scene;
      t[i] = random.below(schedule_.steps());
      ids[i] = random.uniform() < options_.unconditional ? cache_.empty : text;
    }
    const at::Tensor mean = cache_.mean.index_select(0, scenes);
    const at::Tensor latents = mean + cache_.deviation.index_select(0, scenes) * normal_like(mean, random);
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
    save_model(repository_.path() / "unet", folder / "unet", unet, kUnetFile);
    save_model(repository_.path() / "text_encoder", folder / "text_encoder", text_encoder, "model.safetensors");
    save_model(vae_repository_.path(), folder / "vae", vae_repository_.tensors(), kUnetFile);
    for (const char* part : {"tokenizer", "scheduler"}) {
      for (const auto& entry : fs::directory_iterator(repository_.path() / part)) {
        write_file(folder / part / entry.path().filename(), read_file(entry.path()));
      }
    }
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

  data::Scene scene_at(int64_t index) const {
    return data::make_scene(data::Split::kTrain, options_.first_scene + index);
  }

  SceneCache encode_scenes(const Context& context) const {
    c10::NoGradGuard no_grad;
    const nn::Weights weights = models::part_weights(vae_repository_, "", machine_.device, at::kFloat);
    const models::Vae vae(models::VaeConfig::read(models::part_config(vae_repository_)), weights);
    weights.finish();
    std::vector<at::Tensor> means, deviations, ids;
    constexpr int64_t kBatch = 250;
    context.progress().begin("encode scenes", options_.scenes);
    for (int64_t begin = 0; begin < options_.scenes; begin += kBatch) {
      context.check();
      std::vector<data::Scene> scenes;
      std::vector<std::string> texts;
      for (int64_t i = begin; i < std::min(begin + kBatch, options_.scenes); ++i) {
        scenes.push_back(scene_at(i));
        for (std::string& caption : data::captions(scenes.back())) texts.push_back(std::move(caption));
      }
      const at::Tensor pixels = render_scenes(scenes, options_.image_size) * 2 - 1;
      const generate::LatentDistribution latents = generate::encode(vae, pixels);
      means.push_back(latents.mean.cpu());
      deviations.push_back(latents.deviation.cpu());
      ids.push_back(tokens(texts).view({static_cast<int64_t>(scenes.size()), 5, -1}));
      context.progress().advance(static_cast<int64_t>(scenes.size()));
    }
    context.progress().end();
    return {at::cat(means).contiguous(), at::cat(deviations).contiguous(), at::cat(ids), tokens({""})[0]};
  }

  at::Tensor tokens(const std::vector<std::string>& texts) const {
    return token_batch(*tokenizer_, texts, text_config_.max_position_embeddings);
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
  SceneCache cache_;
};

}  // namespace

std::unique_ptr<Task> make_diffusion_task(const TaskOptions& options, const Machine& machine, const Context& context) {
  if (options.vae.empty()) throw UsageError(describe("vae", "the folder of a trained VAE", "nothing"));
  return std::make_unique<DiffusionTask>(options, machine, context);
}

}  // namespace readback::train
