#include "readback/train/unified_task.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <optional>
#include <set>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/caption/blip_captioner.h"
#include "readback/checkpoint/writer.h"
#include "readback/generate/scheduler.h"
#include "readback/train/batches.h"
#include "readback/train/caption_evaluation.h"
#include "readback/train/tasks.h"
#include "readback/train/trained_parameters.h"

namespace readback::train {

namespace fs = std::filesystem;

namespace {

// `options` with what follows from the choice of losses.
UnifiedTaskOptions resolved(UnifiedTaskOptions options) {
  if (options.order != "alternate" && options.order != "joint") {
    throw UsageError(describe("--order", "alternate or joint", options.order));
  }
  if (options.losses == "lm") {
    options.train_generator = "none";
    options.objective.diffusion_weight = 0;
  } else if (options.losses == "diffusion") {
    options.train_captioner = "none";
    options.objective.lm_weight = 0;
  } else if (options.losses != "unified") {
    throw UsageError(describe("--losses", "lm, diffusion or unified", options.losses));
  }
  if (options.train_captioner == "none" && options.train_generator == "none") {
    throw UsageError(describe("fine-tuning", "something to train", "\"none\" for both models"));
  }
  return options;
}

// Parameters that are trained are copies, since a mapped file must not be written to.
nn::Weights load_weights(const checkpoint::Repository& repository, const std::string& part, Side side,
                         const std::string& selection, const UnifiedTaskOptions& options) {
  checkpoint::TensorMap tensors = repository.tensors(part);
  for (const auto& [key, tensor] : select_parameters(tensors, side, selection)) tensors[key] = tensor.clone();
  return nn::Weights(std::move(tensors), options.device, options.dtype, (repository.path() / part).string());
}

checkpoint::ConfigReader part_config(const checkpoint::Repository& repository, const std::string& part) {
  const std::string file = part + "/config.json";
  return {repository.json(file), (repository.path() / file).string()};
}

models::BlipConfig captioner_config(const checkpoint::Repository& repository, const UnifiedTaskOptions& options) {
  auto config = models::BlipConfig::read({repository.json(), (repository.path() / "config.json").string()});
  const bool paper = options.objective.objective == Objective::kPaper;
  if (options.label_smoothing >= 0 || paper) {
    config.text.label_smoothing = options.label_smoothing >= 0 ? options.label_smoothing : 0.1;
  }
  return config;
}

at::Tensor as_generator_reads(const image::Image& image, int64_t side) {
  return image::to_signed_unit(
      image.width == side && image.height == side ? image : image::resize(image, side, side, image::Filter::kBilinear));
}

// Every file of the repository but the weights of the part that is written anew, and a training's state beside it.
void copy_others(const fs::path& source, const fs::path& target, const std::string& rewritten) {
  for (const auto& entry : fs::recursive_directory_iterator(source, fs::directory_options::follow_directory_symlink)) {
    const fs::path name = fs::relative(entry.path(), source);
    if (!entry.is_regular_file() || name.string().starts_with(".") || *name.begin() == "training") {
      continue;
    }
    const std::string extension = name.extension().string();
    const bool weights = extension == ".safetensors" || extension == ".bin" || name.string().ends_with(".index.json");
    if (weights && name.parent_path() == fs::path(rewritten)) continue;
    write_file(target / name, read_file(entry.path()));
  }
}

class UnifiedTask : public Task {
 public:
  UnifiedTask(const UnifiedTaskOptions& wanted, Progress& progress)
      : options_(resolved(wanted)),
        progress_(progress),
        captioner_repository_(options_.captioner),
        generator_repository_(options_.generator),
        samples_(options_.samples, progress),
        captioner_tokenizer_(text::load_bert_tokenizer(captioner_repository_.path())),
        generator_tokenizer_(text::load_clip_tokenizer(generator_repository_.path() / "tokenizer")),
        preprocess_(image::read_preprocess_options(captioner_repository_)),
        captioner_weights_(
            load_weights(captioner_repository_, "", Side::kCaptioner, options_.train_captioner, options_)),
        text_weights_(load_weights(generator_repository_, "text_encoder", Side::kGenerator, "none", options_)),
        unet_weights_(
            load_weights(generator_repository_, "unet", Side::kGenerator, options_.train_generator, options_)),
        vae_weights_(load_weights(generator_repository_, "vae", Side::kGenerator, "none", options_)),
        captioner_(captioner_config(captioner_repository_, options_), captioner_weights_),
        text_encoder_(models::ClipTextConfig::read(part_config(generator_repository_, "text_encoder")), text_weights_),
        unet_(models::UnetConfig::read(part_config(generator_repository_, "unet")), unet_weights_),
        vae_(models::VaeConfig::read(part_config(generator_repository_, "vae")), vae_weights_),
        cache_(options_.cache_bytes) {
    for (const nn::Weights* weights : {&captioner_weights_, &text_weights_, &unet_weights_, &vae_weights_}) {
      weights->finish();
    }
    if (unet_.config.cross_attention_dim != text_encoder_.config.hidden_size) {
      throw CheckpointError(
          describe(options_.generator, "a UNet as wide as its text encoder",
                   fmt::format("{} and {}", unet_.config.cross_attention_dim, text_encoder_.config.hidden_size)));
    }
    side_ = options_.resolution > 0 ? options_.resolution : unet_.config.sample_size * vae_.config.factor();
    if (side_ % vae_.config.factor() != 0) {
      throw UsageError(
          describe("--resolution", fmt::format("a multiple of {}", vae_.config.factor()), std::to_string(side_)));
    }
    models_.emplace(unified_models());
    objective_.emplace(*models_, options_.objective);
    for (const auto& [key, tensor] : parameters()) trains_vision_ |= key.starts_with("captioner.vision_model.");
  }

  std::map<std::string, at::Tensor> parameters() const override {
    std::map<std::string, at::Tensor> all;
    const auto add = [&](const std::string& prefix, const nn::Weights& weights, Side side, const std::string& which) {
      for (const auto& [key, tensor] : select_parameters(weights.parameters(), side, which)) all[prefix + key] = tensor;
    };
    add("captioner.", captioner_weights_, Side::kCaptioner, options_.train_captioner);
    add("unet.", unet_weights_, Side::kGenerator, options_.train_generator);
    return all;
  }

  at::Tensor loss(int64_t step, Figures& figures) override {
    Random random(options_.seed, "unified batch", static_cast<uint64_t>(step));
    const std::vector<DrawnSample> batch = draw(random);
    const bool joint = options_.order == "joint" && options_.losses == "unified";
    const bool even = joint || options_.losses == "diffusion" || (options_.losses == "unified" && step % 2 == 0);
    const bool odd = joint || !even;
    at::Tensor total;
    const auto add = [&](const char* name, const UnifiedLoss& loss) {
      if (loss.diffusion.defined())
        figures.emplace_back(name + std::string("_diffusion"), loss.diffusion.item<double>());
      if (loss.lm.defined()) figures.emplace_back(name + std::string("_lm"), loss.lm.item<double>());
      total = total.defined() ? total + loss.total : loss.total;
    };
    if (even) add("even", objective_->even(even_batch(batch, random)));
    if (odd) add("odd", objective_->odd(odd_batch(batch, random)));
    return total;
  }

  Figures evaluate(const checkpoint::TensorMap& weights) override {
    if (!evaluation_) evaluation_.emplace(options_.evaluation, progress_);
    const nn::Weights tuned = nn::Weights(with_trained(captioner_repository_, "", "captioner.", weights),
                                          options_.device, options_.dtype, options_.captioner)
                                  .for_inference();
    const auto model = std::make_shared<models::Blip>(captioner_.config, tuned);
    tuned.finish();
    caption::BlipCaptioner captioner({.model = model, .tokenizer = captioner_tokenizer_, .preprocessing = preprocess_});
    return evaluation_->run(captioner);
  }

  void save(const fs::path& folder, const checkpoint::TensorMap& weights) const override {
    write_model(captioner_repository_, "", "captioner.", weights, folder / "captioner", "model.safetensors");
    write_model(generator_repository_, "unet", "unet.", weights, folder / "generator",
                "diffusion_pytorch_model.safetensors");
  }

 private:
  UnifiedModels unified_models() {
    const text::Tokenizer& generator = *generator_tokenizer_;
    const models::BlipTextConfig& captions = captioner_.config.text;
    const Vocabularies vocabularies{*captioner_tokenizer_, generator, captions.vocab_size, captions.bos_token_id,
                                    captions.sep_token_id};
    VocabularyBridge bridge = options_.vocabulary_map.empty() ? build_bridge(vocabularies)
                                                              : load_bridge(options_.vocabulary_map, vocabularies);
    expect_coverage(bridge, options_.minimum_coverage);
    if (options_.losses == "unified") progress_.note("vocabulary bridge: " + bridge.summary());
    const nlohmann::json scheduler =
        generate::read_scheduler_config(generator_repository_.path() / "scheduler/scheduler_config.json");
    const int64_t limit = text_encoder_.config.max_position_embeddings, end = generator.id("<|endoftext|>"),
                  padding = generator.special_id("pad_token");
    return {.captioner = captioner_,
            .text_encoder = text_encoder_,
            .unet = unet_,
            .vae = vae_,
            .schedule = generate::NoiseSchedule::from_config(scheduler),
            .clip_sample = scheduler.value("clip_sample", true),  // as DDPMScheduler's default
            .preprocess = preprocess_,
            .bridge = std::move(bridge),
            .prompt_tokens = prompt_tokens(*captioner_tokenizer_),
            .begin = generator.id("<|startoftext|>"),
            .end = end,
            .padding = padding >= 0 ? padding : end,
            .text_length = generator.max_length() > 0 ? std::min(generator.max_length(), limit) : limit};
  }

  std::vector<DrawnSample> draw(Random& random) {
    std::vector<DrawnSample> batch;
    while (static_cast<int64_t>(batch.size()) < options_.batch_size) {
      DrawnSample sample = samples_.draw(random, 1).front();
      if (readable(sample.index)) batch.push_back(std::move(sample));
    }
    return batch;
  }

  // A bad sample does not end the run; another is drawn in its place.
  bool readable(int64_t index) {
    if (good_.contains(index)) return true;
    if (bad_.contains(index)) return false;
    try {
      samples_.load(index);
      good_.insert(index);
      return true;
    } catch (const DataError& error) {
      bad_.insert(index);
      if (static_cast<int64_t>(bad_.size()) == samples_.size()) throw;
      progress_.note(error.what());
      return false;
    }
  }

  // [2, c, h, w]: mean and deviation of the scaled latents, on the CPU
  at::Tensor moments(int64_t index) {
    return cache_.get(fmt::format("latents {}", index), [&] {
      c10::NoGradGuard no_grad;
      const at::Tensor pixels = as_generator_reads(samples_.load(index), side_).unsqueeze(0);
      const models::VaeMoments moments =
          vae_.encode(pixels.to(options_.device, vae_.encoder_conv_in.weight.scalar_type()));
      const at::Tensor both = at::cat({moments.mean.to(at::kFloat), (0.5 * moments.logvar.to(at::kFloat)).exp()});
      return (both * vae_.config.scaling_factor).cpu().contiguous();
    });
  }

  at::Tensor image_state(int64_t index) {  // [P, C]
    return cache_.get(fmt::format("image {}", index), [&] {
      c10::NoGradGuard no_grad;
      const at::Tensor pixels = image::preprocess(samples_.load(index), preprocess_).unsqueeze(0);
      return objective_->image_states(pixels.to(options_.device)).squeeze(0);
    });
  }

  at::Tensor image_states(const std::vector<DrawnSample>& batch, Random& random) {  // [B, P, C]
    std::vector<at::Tensor> rows;
    if (!trains_vision_ && options_.degradation <= 0) {
      for (const DrawnSample& item : batch) rows.push_back(image_state(item.index));
      return at::stack(rows);
    }
    image::PreprocessOptions unnormalised = preprocess_;
    unnormalised.do_normalize = false;
    for (const DrawnSample& item : batch) rows.push_back(image::preprocess(samples_.load(item.index), unnormalised));
    const at::Tensor pixels = degrade(at::stack(rows), options_.degradation, random);
    return objective_->image_states(normalise(pixels, preprocess_).to(options_.device));
  }

  at::Tensor text_states(const std::vector<std::string>& captions) {  // [B, T, D]
    const UnifiedModels& models = *models_;
    std::vector<at::Tensor> rows;
    int64_t longest = 0;
    for (const std::string& caption : captions) {
      const text::Padded padded = text::pad(generator_tokenizer_->encode(caption), models.begin, models.end,
                                            models.padding, models.text_length);
      longest = std::max(longest, padded.tokens);
      rows.push_back(cache_.get("text " + caption, [&] {
        const at::Tensor ids = at::tensor(padded.ids, at::kLong).unsqueeze(0);
        return objective_->text_states(ids.to(options_.device)).squeeze(0);
      }));
    }
    const at::Tensor states = at::stack(rows);
    return options_.objective.objective == Objective::kPaper ? states.narrow(1, 0, longest) : states;
  }

  at::Tensor draw_timesteps(int64_t count, Random& random) const {
    at::Tensor t = at::empty({count}, at::kLong);
    for (int64_t i = 0; i < count; ++i) t[i] = random.below(models_->schedule.steps());
    return t;
  }

  at::Tensor draw_latents(const std::vector<DrawnSample>& batch, Random& random) {  // [B, c, h, w], on the CPU
    std::vector<at::Tensor> latents;
    for (const DrawnSample& item : batch) {
      const at::Tensor both = moments(item.index);
      latents.push_back(both[0] + both[1] * normal_like(both[0], random));
    }
    return at::stack(latents);
  }

  CaptionBatch captions_of(const std::vector<DrawnSample>& batch) const {
    std::vector<std::string> captions;
    for (const DrawnSample& item : batch) captions.push_back(item.caption);
    const CaptionBatch result = caption_batch(*captioner_tokenizer_, captioner_.config.text, captions);
    return {result.ids.to(options_.device), result.labels.to(options_.device)};
  }

  EvenBatch even_batch(const std::vector<DrawnSample>& batch, Random& random) {
    std::vector<std::string> texts;
    for (const DrawnSample& item : batch)
      texts.push_back(random.uniform() < options_.unconditional ? "" : item.caption);
    const at::Tensor latents = draw_latents(batch, random), noise = normal_like(latents, random);
    EvenBatch even{.latents = latents.to(options_.device),
                   .noise = noise.to(options_.device),
                   .timesteps = draw_timesteps(options_.batch_size, random),
                   .text = text_states(texts),
                   .captions = captions_of(batch)};
    if (options_.objective.objective == Objective::kPaper) {
      even.step_noise = normal_like(latents, random).to(options_.device);
    }
    return even;
  }

  OddBatch odd_batch(const std::vector<DrawnSample>& batch, Random& random) {
    OddBatch odd{.images = image_states(batch, random), .captions = captions_of(batch)};
    if (options_.objective.diffusion_weight > 0) {
      const at::Tensor latents = draw_latents(batch, random);
      odd.latents = latents.to(options_.device);
      odd.noise = normal_like(latents.repeat_interleave(options_.draws, 0), random).to(options_.device);
      odd.timesteps = draw_timesteps(options_.batch_size * options_.draws, random);
    }
    return odd;
  }

  // The starting checkpoint with the trained tensors in place of its own.
  static checkpoint::TensorMap with_trained(const checkpoint::Repository& repository, const std::string& part,
                                            const std::string& prefix, const checkpoint::TensorMap& weights) {
    checkpoint::TensorMap tensors = repository.tensors(part);
    for (auto& [key, tensor] : tensors) {
      if (const auto found = weights.find(prefix + key); found != weights.end()) {
        tensor = found->second.to(tensor.scalar_type());
      }
    }
    return tensors;
  }

  static void write_model(const checkpoint::Repository& repository, const std::string& part, const std::string& prefix,
                          const checkpoint::TensorMap& weights, const fs::path& folder, const std::string& file) {
    const checkpoint::TensorMap tensors = with_trained(repository, part, prefix, weights);
    copy_others(repository.path(), folder, part);
    checkpoint::write_model(folder / part, repository.json((fs::path(part) / "config.json").string()), tensors,
                            {.weights = file});
  }

  UnifiedTaskOptions options_;
  Progress& progress_;
  checkpoint::Repository captioner_repository_, generator_repository_;
  UnifiedSamples samples_;
  std::shared_ptr<text::Tokenizer> captioner_tokenizer_, generator_tokenizer_;
  image::PreprocessOptions preprocess_;
  nn::Weights captioner_weights_, text_weights_, unet_weights_, vae_weights_;
  models::Blip captioner_;
  models::ClipTextModel text_encoder_;
  models::Unet unet_;
  models::Vae vae_;
  TensorCache cache_;
  std::optional<UnifiedModels> models_;
  std::optional<UnifiedObjective> objective_;
  std::optional<CaptionEvaluation> evaluation_;
  std::set<int64_t> good_, bad_;
  int64_t side_ = 0;
  bool trains_vision_ = false;
};

}  // namespace

std::unique_ptr<Task> make_unified_task(const UnifiedTaskOptions& options, Progress& progress) {
  return std::make_unique<UnifiedTask>(options, progress);
}

}  // namespace readback::train
