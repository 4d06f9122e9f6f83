#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <map>
#include <utility>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/generate/noise_schedule.h"
#include "readback/image/preprocess.h"
#include "readback/models/clip/clip.h"
#include "readback/models/karlo/prior.h"
#include "readback/models/karlo/text_projection.h"
#include "readback/models/karlo/unet.h"
#include "readback/models/part.h"
#include "readback/train/batches.h"
#include "readback/train/tasks.h"

namespace readback::train {

namespace fs = std::filesystem;

namespace {

constexpr const char* kModelFile = "diffusion_pytorch_model.safetensors";
constexpr const char* kModels[] = {"prior", "text_proj", "decoder", "super_res_first", "super_res_last"};
constexpr const char* kOthers[] = {"tokenizer", "feature_extractor", "prior_scheduler", "decoder_scheduler",
                                   "super_res_scheduler"};
constexpr int64_t kMeanScenes = 2000;  // whose embeddings say what a normalised one is
constexpr double kWordless = 0.25;     // share of the decoder's pictures that are told by their embedding alone
// The decoder is taught the least of the variances between which it may choose, at -1. That is the truth's where a text
// leaves little open. The bound of https://arxiv.org/abs/2102.09672 asks for more wherever the network errs, which is
// right for the thousand steps of training and leaves noise in a picture of ten.
constexpr double kVarianceWeight = 1e-3;
// super_res_last takes the last of the steps only. It learns the noise that is left by then, if there are at least six.
constexpr int64_t kLeastEnlargingSteps = 6;

// The two halves of a CLIP model, each in the layout of transformers' class with a projection.
struct ClipHalves {
  checkpoint::TensorMap text, vision;
};

// CLIP's own width is that of its projections, unCLIP's that of the text's states: what lacks is zeros, so that no
// angle changes.
at::Tensor widened(const at::Tensor& projection, int64_t width) {
  return at::constant_pad_nd(projection, {0, 0, 0, width - projection.size(0)});
}

ClipHalves split_clip(const checkpoint::Repository& repository, int64_t width) {
  const auto config = models::ClipConfig::read(models::part_config(repository));
  if (config.projection_dim > width) {
    throw CheckpointError(describe(repository.name() + ": projection_dim",
                                   "at most the prior's embedding_dim, " + std::to_string(width),
                                   std::to_string(config.projection_dim)));
  }
  ClipHalves halves;
  for (const auto& [key, tensor] : repository.tensors()) {
    if (key.starts_with("text_model.")) halves.text[key] = tensor.clone();
    if (key.starts_with("vision_model.")) halves.vision[key] = tensor.clone();
    if (key == "text_projection.weight") halves.text[key] = widened(tensor, width);
    if (key == "visual_projection.weight") halves.vision[key] = widened(tensor, width);
  }
  return halves;
}

// Of B texts: CLIP's embeddings [B, E], last hidden states [B, T, E], and which of these are no padding, bool [B, T].
struct Texts {
  at::Tensor embeds, states, tokens;
};

// The frozen CLIP model that an unCLIP is made for, and hands on with its own weights.
class FrozenClip {
 public:
  FrozenClip(const checkpoint::Repository& repository, const TaskOptions& options, const Machine& machine)
      : machine_(machine),
        width_(models::PriorConfig::read(models::part_config(repository, "prior")).embedding_dim),
        halves_(read(repository, options)),
        text_weights_(halves_.text, machine.device, machine.dtype, "text_encoder"),
        vision_weights_(halves_.vision, machine.device, machine.dtype, "image_encoder"),
        text_(models::ClipTextConfig::read(models::part_config(repository, "text_encoder")), text_weights_),
        vision_(models::ClipVisionConfig::read(models::part_config(repository, "image_encoder")), vision_weights_),
        preprocess_(image::read_preprocess_options(repository, "feature_extractor")),
        tokenizer_(text::load_clip_tokenizer(repository.path() / "tokenizer")) {
    text_weights_.finish();
    vision_weights_.finish();
  }

  const ClipHalves& halves() const { return halves_; }
  int64_t width() const { return width_; }

  Texts encode(const std::vector<std::string>& texts) const {
    c10::NoGradGuard no_grad;
    const at::Tensor ids = token_batch(*tokenizer_, texts, text_.config.max_position_embeddings);
    const at::Tensor is_end = ids.eq(text_.config.eos_token_id);  // the text's, then its padding
    const models::ClipOutput output = text_.text_model.forward(ids.to(machine_.device));
    return {text_.text_projection(output.pooler_output), output.last_hidden_state,
            is_end.cumsum(1).sub(is_end.to(at::kLong)).eq(0).to(machine_.device)};
  }

  // [B, 3, h, w] in [0, 1] → fp32 [B, E]
  at::Tensor embeds(const at::Tensor& images) const {
    c10::NoGradGuard no_grad;
    const at::Tensor pixels = normalise(images, preprocess_).to(machine_.device, machine_.dtype);
    return vision_.visual_projection(vision_.vision_model.forward(pixels).pooler_output).to(at::kFloat);
  }

 private:
  ClipHalves read(const checkpoint::Repository& repository, const TaskOptions& options) const {
    if (fs::exists(repository.path() / "text_encoder" / "model.safetensors")) {
      return {repository.tensors("text_encoder"), repository.tensors("image_encoder")};
    }
    if (options.clip.empty()) {
      throw UsageError(describe("clip", "a CLIP repository, since " + options.model + " has none in it", "none"));
    }
    return split_clip(checkpoint::Repository(options.clip), width_);
  }

  Machine machine_;
  int64_t width_;  // E
  ClipHalves halves_;
  nn::Weights text_weights_, vision_weights_;
  models::ClipTextModelWithProjection text_;
  models::ClipVisionModelWithProjection vision_;
  image::PreprocessOptions preprocess_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
};

// What each stage draws for a step.
struct Batch {
  at::Tensor images;  // fp32 [B, 3, side, side] in [0, 1]
  std::vector<std::string> captions;
};

struct Noised {
  at::Tensor clean, noise, t, sample;  // fp32, t int64 [B]
};

// One of unCLIP's stages learns; what the folder has of the others is handed on.
class UnclipTask : public Task {
 public:
  UnclipTask(const TaskOptions& options, const Machine& machine, const std::string& scheduler)
      : options_(options),
        machine_(machine),
        repository_(options.model),
        clip_(repository_, options, machine),
        schedule_(generate::NoiseSchedule::from_config(repository_.json(scheduler + "/scheduler_config.json"))) {}

  std::map<std::string, at::Tensor> parameters() const override {
    std::map<std::string, at::Tensor> all;
    for (const auto& [part, weights] : parts_) {
      for (const auto& [key, tensor] : weights.parameters()) {
        if (!is_fixed(key)) all[part + "." + key] = tensor;
      }
    }
    return all;
  }

  void save(const fs::path& folder, const checkpoint::TensorMap& weights) const override {
    std::map<std::string, checkpoint::TensorMap> learned;
    for (const auto& [key, tensor] : weights) {
      const size_t dot = key.find('.');
      learned[key.substr(0, dot)][key.substr(dot + 1)] = tensor;
    }
    for (const auto& [part, own] : parts_) {
      for (const auto& [key, tensor] : own.parameters()) {
        if (is_fixed(key)) learned[part][key] = tensor;
      }
    }
    for (const char* part : kModels) {
      const fs::path source = repository_.path() / part;
      if (learned.contains(part)) {
        save_model(source, folder / part, learned[part], kModelFile);
      } else if (fs::exists(source / kModelFile)) {
        save_model(source, folder / part, repository_.tensors(part), kModelFile);
      } else {
        write_file(folder / part / "config.json", read_file(source / "config.json"));
      }
    }
    save_model(repository_.path() / "text_encoder", folder / "text_encoder", clip_.halves().text, "model.safetensors");
    save_model(repository_.path() / "image_encoder", folder / "image_encoder", clip_.halves().vision,
               "model.safetensors");
    for (const char* part : kOthers) {
      for (const auto& entry : fs::directory_iterator(repository_.path() / part)) {
        write_file(folder / part / entry.path().filename(), read_file(entry.path()));
      }
    }
    for (const char* file : {"model_index.json", "generation_config.json"}) {
      if (repository_.has(file)) write_file(folder / file, read_file(repository_.path() / file));
    }
  }

 protected:
  const nn::Weights& learn(const std::string& part) {
    return parts_.emplace(part, starting_weights(repository_, machine_, options_.seed, part)).first->second;
  }

  void finish() const {
    for (const auto& [part, weights] : parts_) weights.finish();
  }

  Batch draw_batch(Random& random) const {
    const std::vector<data::Scene> scenes =
        draw_scenes(random, options_.batch_size, options_.first_scene, options_.scenes);
    Batch batch{render_scenes(scenes, options_.image_size), {}};
    for (const data::Scene& scene : scenes) {
      batch.captions.push_back(draw_caption(scene, options_.caption_noise, random));
    }
    return batch;
  }

  // At timesteps below `steps`, each as likely.
  Noised add_noise(const at::Tensor& clean, int64_t steps, Random& random) const {
    at::Tensor t = at::empty({clean.size(0)}, at::kLong);
    for (int64_t i = 0; i < t.numel(); ++i) t[i] = random.below(steps);
    const at::Tensor noise = normal_like(clean, random).to(clean.device());
    return {clean, noise, t, schedule_.add_noise(clean, noise, t)};
  }

  // Squared error, weighted as snr_gamma says; of a network that gives the clean sample the weights are at least 1,
  // since what a text says of it is decided while there is little else to see.
  at::Tensor denoising_loss(const Noised& noised, const at::Tensor& output) const {
    const at::Tensor target = schedule_.target(noised.clean, noised.noise, noised.t);
    at::Tensor weights = min_snr_weights(schedule_, noised.t, options_.snr_gamma);
    if (schedule_.prediction == generate::Prediction::kSample) weights = weights.clamp_min(1);
    return ((output - target).square().flatten(1).mean(1) * weights.to(output.device())).mean();
  }

  TaskOptions options_;
  Machine machine_;
  checkpoint::Repository repository_;
  FrozenClip clip_;
  generate::NoiseSchedule schedule_;

 private:
  // The mean and deviation of embeddings are the prior's, but nothing that learns.
  static bool is_fixed(const std::string& key) { return key == "clip_mean" || key == "clip_std"; }

  std::map<std::string, nn::Weights> parts_;
};

// Which embedding has the picture of this text?
class PriorTask final : public UnclipTask {
 public:
  PriorTask(const TaskOptions& options, const Machine& machine)
      : UnclipTask(options, machine, "prior_scheduler"),
        prior_(models::PriorConfig::read(models::part_config(repository_, "prior")), learn("prior")) {
    finish();
    if (learn("prior").is_fresh()) measure_embeds();
  }

  at::Tensor loss(int64_t step, Metrics& /*metrics*/) override {
    Random random(options_.seed, Purpose::kTraining, "unclip prior batch", static_cast<uint64_t>(step));
    Batch batch = draw_batch(random);
    for (std::string& caption : batch.captions) {
      if (random.uniform() < options_.unconditional) caption.clear();
    }
    const at::Tensor embeds = (clip_.embeds(batch.images) - prior_.clip_mean) / prior_.clip_std;
    const Noised noised = add_noise(embeds.to(at::kFloat), schedule_.steps(), random);
    const Texts texts = clip_.encode(batch.captions);
    const at::Tensor output = prior_.forward(noised.sample.to(machine_.dtype), noised.t.to(machine_.device),
                                             prior_.prepare(texts.embeds, texts.states, texts.tokens));
    return denoising_loss(noised, output.to(at::kFloat));
  }

 private:
  void measure_embeds() {
    std::vector<data::Scene> scenes;
    for (int64_t i = 0; i < std::min(kMeanScenes, options_.scenes); ++i) {
      scenes.push_back(data::make_scene(data::Split::kTrain, options_.first_scene + i));
    }
    const at::Tensor embeds = clip_.embeds(render_scenes(scenes, options_.image_size));
    const at::Tensor deviation = embeds.std(0, /*unbiased=*/false, /*keepdim=*/true);
    c10::NoGradGuard no_grad;
    prior_.clip_mean.copy_(embeds.mean(0, /*keepdim=*/true));
    prior_.clip_std.copy_(deviation.masked_fill(deviation == 0, 1.0));
  }

  models::Prior prior_;
};

// A small picture of an embedding and a text, with a variance.
class DecoderTask final : public UnclipTask {
 public:
  DecoderTask(const TaskOptions& options, const Machine& machine)
      : UnclipTask(options, machine, "decoder_scheduler"),
        projection_(models::TextProjectionConfig::read(models::part_config(repository_, "text_proj")),
                    learn("text_proj")),
        unet_(models::KarloDecoderConfig::read(models::part_config(repository_, "decoder")), learn("decoder")) {
    finish();
  }

  at::Tensor loss(int64_t step, Metrics& metrics) override {
    Random random(options_.seed, Purpose::kTraining, "unclip decoder batch", static_cast<uint64_t>(step));
    Batch batch = draw_batch(random);
    const at::Tensor alone = at::zeros({options_.batch_size, 1}, at::kBool);
    for (int64_t i = 0; i < options_.batch_size; ++i) {
      const bool nothing = random.uniform() < options_.unconditional, wordless = random.uniform() < kWordless;
      alone[i].fill_(nothing);
      if (nothing || wordless) batch.captions[static_cast<size_t>(i)].clear();
    }
    const int64_t side = unet_.config.sample_size;
    const at::Tensor small = at::adaptive_avg_pool2d(batch.images * 2 - 1, {side, side}).to(machine_.device);
    const Noised noised = add_noise(small, schedule_.steps(), random);
    const at::Tensor embeds =
        at::where(alone.to(machine_.device), projection_.learned_classifier_free_guidance_embeddings,
                  clip_.embeds(batch.images).to(machine_.dtype));
    const models::KarloContext context = context_of(embeds, clip_.encode(batch.captions));
    const at::Tensor output =
        unet_.forward(noised.sample.to(machine_.dtype), noised.t.to(machine_.device), context).to(at::kFloat);
    const std::vector<at::Tensor> halves = output.chunk(2, 1);
    const at::Tensor denoising = denoising_loss(noised, halves[0]);
    const at::Tensor variance = (halves[1] + 1).square().mean();
    metrics = {{"denoising", denoising.item<double>()}, {"variance", variance.item<double>()}};
    return denoising + kVarianceWeight * variance;
  }

 private:
  models::KarloContext context_of(const at::Tensor& embeds, const Texts& texts) const {
    const models::DecoderConditions conditions = projection_.forward(embeds, texts.embeds, texts.states);
    const at::Tensor seen = at::constant_pad_nd(texts.tokens, {projection_.config.clip_extra_context_tokens, 0}, 1);
    return unet_.prepare(conditions.states, seen, conditions.time);
  }

  models::TextProjection projection_;
  models::KarloUnet unet_;
};

// A large picture of a small one: one network for all steps but the last, one for that.
class SuperResolutionTask final : public UnclipTask {
 public:
  SuperResolutionTask(const TaskOptions& options, const Machine& machine)
      : UnclipTask(options, machine, "super_res_scheduler"),
        small_(models::KarloDecoderConfig::read(models::part_config(repository_, "decoder")).sample_size),
        first_(models::KarloSuperResolutionConfig::read(models::part_config(repository_, "super_res_first")),
               learn("super_res_first")),
        last_(models::KarloSuperResolutionConfig::read(models::part_config(repository_, "super_res_last")),
              learn("super_res_last")) {
    finish();
  }

  at::Tensor loss(int64_t step, Metrics& metrics) override {
    Random random(options_.seed, Purpose::kTraining, "unclip super-resolution batch", static_cast<uint64_t>(step));
    const at::Tensor images = draw_batch(random).images;
    const int64_t side = images.size(-1);
    // Small pictures have faults when they are drawn.
    const at::Tensor small = degrade(at::adaptive_avg_pool2d(images, {small_, small_}), options_.degradation, random);
    const at::Tensor guess = at::_upsample_bicubic2d_aa(small * 2 - 1, {side, side}, /*align_corners=*/false);
    const at::Tensor clean = (images * 2 - 1).to(machine_.device);
    const auto enlarge = [&](const models::KarloUnet& unet, int64_t steps) {
      const Noised noised = add_noise(clean, steps, random);
      const at::Tensor seen = at::cat({noised.sample, guess.to(machine_.device)}, 1).to(machine_.dtype);
      return denoising_loss(noised, unet.forward(seen, noised.t.to(machine_.device)).to(at::kFloat));
    };
    const at::Tensor first = enlarge(first_, schedule_.steps());
    const at::Tensor last = enlarge(last_, std::max<int64_t>(1, schedule_.steps() / kLeastEnlargingSteps));
    metrics = {{"first", first.item<double>()}, {"last", last.item<double>()}};
    return first + last;
  }

 private:
  int64_t small_;
  models::KarloUnet first_, last_;
};

}  // namespace

std::unique_ptr<Task> make_unclip_task(const TaskOptions& options, const Machine& machine, const Context& /*context*/) {
  switch (*options.task) {
    case TaskKind::kUnclipPrior:
      return std::make_unique<PriorTask>(options, machine);
    case TaskKind::kUnclipDecoder:
      return std::make_unique<DecoderTask>(options, machine);
    default:
      return std::make_unique<SuperResolutionTask>(options, machine);
  }
}

}  // namespace readback::train
