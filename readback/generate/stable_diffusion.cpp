#include "readback/generate/stable_diffusion.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "readback/base/device.h"
#include "readback/base/error.h"
#include "readback/base/progress.h"
#include "readback/base/random.h"
#include "readback/nn/weights.h"

namespace readback::generate {

namespace {

using checkpoint::ConfigReader;
using checkpoint::Repository;

constexpr int64_t kSmallModelBytes = int64_t{64} << 20;
// Latent positions that are denoised together: enough to fill the machine; more would only take memory.
constexpr int64_t kPositionsOnCpu = 64 * 64, kPositionsOnGpu = 16 * 64 * 64;

// model_index.json gives each part as [library, class], or [null, null] for one that the repository lacks.
std::string part_class(ConfigReader& index, const std::string& part) {
  const auto entry = index.get<nlohmann::json>(part, nullptr);
  return entry.is_array() && entry.size() == 2 && entry[1].is_string() ? entry[1].get<std::string>() : "";
}

void expect_class(ConfigReader& index, const std::string& part, const std::vector<std::string>& known) {
  const std::string found = part_class(index, part);
  if (std::find(known.begin(), known.end(), found) == known.end())
    throw CheckpointError(describe(index.where() + ": " + part, known.front(), found.empty() ? "none" : found));
}

void expect_equal(const Repository& repository, const char* what, int64_t one, const char* other_what, int64_t other) {
  if (one != other)
    throw CheckpointError(
        describe(repository.name(), fmt::format("{} equal to {} ({})", what, other_what, other), std::to_string(one)));
}

template <typename Model>
struct Part {
  std::unique_ptr<Model> model;
  int64_t bytes;  // of its weights
};

template <typename Model, typename Config>
Part<Model> load_part(const Repository& repository, const std::string& part, c10::Device device,
                      c10::ScalarType dtype) {
  const std::string where = (repository.path() / part).string();
  const nn::Weights weights = nn::Weights(repository.tensors(part), device, dtype, where).for_inference();
  auto model = std::make_unique<Model>(
      Config::read(ConfigReader(repository.json(part + "/config.json"), where + "/config.json")), weights);
  weights.finish();
  return {std::move(model), weights.bytes()};
}

at::Tensor normal(Random& random, at::IntArrayRef shape) {
  at::Tensor values = at::empty(shape, at::kFloat);
  random.fill_normal({values.data_ptr<float>(), static_cast<size_t>(values.numel())});
  return values;
}

}  // namespace

StableDiffusion::StableDiffusion(const Repository& repository, c10::Device device, c10::ScalarType dtype)
    : device_(device), dtype_(dtype) {
  if (!repository.has("model_index.json")) {
    throw CheckpointError(describe(repository.path().string(), "a diffusers repository with model_index.json", "none",
                                   "A generator is a folder saved by StableDiffusionPipeline.save_pretrained"));
  }
  ConfigReader index(repository.json("model_index.json"), (repository.path() / "model_index.json").string());
  if (const auto name = index.get<std::string>("_class_name", "none"); name != "StableDiffusionPipeline")
    throw CheckpointError(describe(index.where(), "StableDiffusionPipeline", name));
  expect_class(index, "tokenizer", {"CLIPTokenizer", "CLIPTokenizerFast"});
  expect_class(index, "text_encoder", {"CLIPTextModel"});
  expect_class(index, "unet", {"UNet2DConditionModel"});
  expect_class(index, "vae", {"AutoencoderKL"});

  scheduler_config_ = read_scheduler_config(repository.path() / "scheduler" / "scheduler_config.json");
  tokenizer_ = text::load_clip_tokenizer(repository.path() / "tokenizer");
  text_encoder_ =
      load_part<models::ClipTextModel, models::ClipTextConfig>(repository, "text_encoder", device, dtype).model;
  auto unet = load_part<models::Unet, models::UnetConfig>(repository, "unet", device, dtype);
  unet_ = std::move(unet.model);
  unet_bytes_ = unet.bytes;
  vae_ = load_part<models::Vae, models::VaeConfig>(repository, "vae", device, dtype).model;
  if (!part_class(index, "safety_checker").empty()) {
    expect_class(index, "safety_checker", {"StableDiffusionSafetyChecker"});
    safety_checker_ =
        load_part<models::SafetyChecker, models::ClipConfig>(repository, "safety_checker", device, dtype).model;
    safety_preprocessing_ = image::read_preprocess_options(repository, "feature_extractor");
  }
  expect_equal(repository, "the UNet's cross_attention_dim", unet_->config.cross_attention_dim,
               "the text encoder's hidden_size", text_encoder_->config.hidden_size);
  expect_equal(repository, "the UNet's in_channels", unet_->config.in_channels, "the VAE's latent_channels",
               vae_->config.latent_channels);
  expect_equal(repository, "the UNet's out_channels", unet_->config.out_channels, "its in_channels",
               unet_->config.in_channels);
  if (tokenizer_->special_id("bos_token") < 0 || tokenizer_->special_id("eos_token") < 0)
    throw CheckpointError(describe(repository.name() + "/tokenizer", "bos_token and eos_token", "none"));
  if (tokenizer_->vocabulary_size() > text_encoder_->config.vocab_size) {
    throw CheckpointError(
        describe(repository.name() + "/tokenizer",
                 fmt::format("{} tokens at most, as the text encoder has", text_encoder_->config.vocab_size),
                 std::to_string(tokenizer_->vocabulary_size())));
  }
  description_ = fmt::format("Stable Diffusion {}, {}", repository.name(), dtype_name(dtype));
}

struct StableDiffusion::Texts {
  at::Tensor states;               // [distinct texts, T, D]; with guidance the negative prompt's come first
  std::vector<int64_t> rows;       // of each request
  std::vector<int64_t> truncated;  // tokens cut, of each request
};

StableDiffusion::Texts StableDiffusion::encode(std::span<const Request> requests, const std::string& negative_prompt,
                                               bool guided) const {
  const int64_t limit = text_encoder_->config.max_position_embeddings;
  const int64_t length = tokenizer_->max_length() > 0 ? std::min(tokenizer_->max_length(), limit) : limit;
  const int64_t begin = tokenizer_->special_id("bos_token"), end = tokenizer_->special_id("eos_token");
  const int64_t padding = tokenizer_->special_id("pad_token") >= 0 ? tokenizer_->special_id("pad_token") : end;

  std::vector<std::string> distinct;
  if (guided) distinct.push_back(negative_prompt);
  Texts texts;
  for (const Request& request : requests) {
    auto found = std::find(distinct.begin() + (guided ? 1 : 0), distinct.end(), request.prompt);
    texts.rows.push_back(found - distinct.begin());
    if (found == distinct.end()) distinct.push_back(request.prompt);
  }
  at::Tensor ids = at::empty({static_cast<int64_t>(distinct.size()), length}, at::kLong);
  std::vector<int64_t> cut;
  for (size_t i = 0; i < distinct.size(); ++i) {
    const text::Padded padded = text::pad(tokenizer_->encode(distinct[i]), begin, end, padding, length);
    std::copy(padded.ids.begin(), padded.ids.end(), ids.data_ptr<int64_t>() + static_cast<int64_t>(i) * length);
    cut.push_back(padded.truncated);
  }
  for (int64_t row : texts.rows) texts.truncated.push_back(cut[static_cast<size_t>(row)]);
  texts.states = text_encoder_->forward(ids.to(device_)).last_hidden_state;
  return texts;
}

std::vector<Picture> StableDiffusion::generate(std::span<const Request> requests, const GenerationOptions& options) {
  c10::NoGradGuard no_grad;
  if (requests.empty()) return {};
  const int64_t factor = vae_->config.factor(), channels = unet_->config.in_channels;
  const int64_t height = options.height > 0 ? options.height : unet_->config.sample_size * factor;
  const int64_t width = options.width > 0 ? options.width : unet_->config.sample_size * factor;
  if (options.height < 0 || options.width < 0 || height % factor != 0 || width % factor != 0) {
    throw UsageError(describe("--height and --width", fmt::format("multiples of {}", factor),
                              fmt::format("{} and {}", height, width)));
  }
  std::vector<Picture> pictures(requests.size());
  std::vector<at::Tensor> noise;
  for (size_t i = 0; i < requests.size(); ++i) {
    const Request& request = requests[i];
    const auto candidate = static_cast<uint64_t>(request.candidate);
    pictures[i].seed = derive_seed(options.seed, Purpose::kPictureSeed, request.sample, candidate);
    if (request.latents.defined()) {
      const std::vector<int64_t> wanted = {1, channels, height / factor, width / factor};
      if (request.latents.sizes() != at::IntArrayRef(wanted)) {
        throw UsageError(describe("initial latents", fmt::format("[{}]", fmt::join(wanted, ", ")),
                                  fmt::format("[{}]", fmt::join(request.latents.sizes(), ", "))));
      }
      noise.push_back(request.latents.to(at::kFloat));
    } else {
      Random random(options.seed, Purpose::kInitialNoise, request.sample, candidate);
      noise.push_back(normal(random, {1, channels, height / factor, width / factor}));
    }
  }

  const bool guided = options.guidance_scale > 1.0;
  const Texts texts = encode(requests, options.negative_prompt, guided);
  const models::TextContext contexts = unet_->prepare(texts.states);
  at::Tensor latents = at::cat(noise).to(device_);
  const auto denoise_share = [&](int64_t first, int64_t last) {
    c10::NoGradGuard no_grad_in_this_thread;
    const auto count = static_cast<size_t>(last - first);
    std::vector<int64_t> rows(guided ? count : 0, 0);
    rows.insert(rows.end(), texts.rows.begin() + first, texts.rows.begin() + last);
    const at::Tensor index = at::tensor(rows, at::TensorOptions(at::kLong).device(device_));
    models::TextContext context;
    for (const models::KeyValue& pair : contexts) {
      context.push_back({pair.key.index_select(0, index), pair.value.index_select(0, index)});
    }
    at::Tensor share = latents.narrow(0, first, last - first);
    share.copy_(denoise(requests.subspan(static_cast<size_t>(first), count), options, share, context, guided));
  };
  if (device_.is_cpu() && unet_bytes_ <= kSmallModelBytes) {
    // The layers of a small model are too short to be shared between cores: each core takes pictures of its own.
    at::parallel_for(0, latents.size(0), 1, denoise_share);
  } else {
    const int64_t positions = latents.size(2) * latents.size(3);
    const int64_t at_once = std::max<int64_t>(1, (device_.is_cpu() ? kPositionsOnCpu : kPositionsOnGpu) / positions);
    for (int64_t first = 0; first < latents.size(0); first += at_once) {
      denoise_share(first, std::min(first + at_once, latents.size(0)));
    }
  }
  for (size_t i = 0; i < requests.size(); ++i) {
    pictures[i].latents = latents[static_cast<int64_t>(i)].cpu();
    pictures[i].truncated_tokens = texts.truncated[i];
  }
  if (options.latents_only) return pictures;
  std::vector<image::Image> images = decode(latents);
  const std::vector<bool> flagged = check(images);
  for (size_t i = 0; i < requests.size(); ++i) {
    pictures[i].flagged = flagged[i];
    pictures[i].image = flagged[i] ? image::Image(images[i].width, images[i].height) : std::move(images[i]);
  }
  return pictures;
}

at::Tensor StableDiffusion::denoise(std::span<const Request> requests, const GenerationOptions& options,
                                    at::Tensor latents, const models::TextContext& context, bool guided) const {
  const std::unique_ptr<Scheduler> scheduler = make_scheduler(
      options.scheduler, pipeline_scheduler_config(scheduler_config_, options.scheduler), options.num_inference_steps);
  latents = latents * scheduler->init_noise_sigma();
  std::vector<Random> streams;
  for (const Request& request : requests) {
    streams.emplace_back(options.seed, Purpose::kSchedulerNoise, request.sample,
                         static_cast<uint64_t>(request.candidate));
  }
  const Scheduler::Noise ancestral_noise = [&] {
    std::vector<at::Tensor> draws;
    for (Random& stream : streams) draws.push_back(normal(stream, latents.sizes().slice(1)));
    return at::stack(draws).to(latents.options());
  };
  for (int64_t i = 0; i < scheduler->size(); ++i) {
    check_interrupt();
    const at::Tensor input = scheduler->scale_model_input(latents, i).to(dtype_);  // [B, c, h, w]
    const at::Tensor batch = guided ? at::cat({input, input}) : input;             // [2B, c, h, w]
    const at::Tensor time = at::full({batch.size(0)}, scheduler->timesteps()[static_cast<size_t>(i)],
                                     at::TensorOptions(at::kFloat).device(device_));
    at::Tensor output = unet_->forward(batch, time, context).to(at::kFloat);
    if (guided) {
      const std::vector<at::Tensor> halves = output.chunk(2);
      output = halves[0] + options.guidance_scale * (halves[1] - halves[0]);
    }
    latents = scheduler->step(output, i, latents, ancestral_noise);
  }
  return latents;
}

std::vector<image::Image> StableDiffusion::decode(const at::Tensor& latents) const {
  const models::VaeConfig& config = vae_->config;
  const at::Tensor unscaled = (latents / config.scaling_factor + config.shift_factor).to(dtype_);
  // Decoding at full size takes a gigabyte a picture; small pictures go together.
  const int64_t pixels = latents.size(2) * latents.size(3) * config.factor() * config.factor();
  const int64_t batch = std::max<int64_t>(1, 128 * 128 / pixels);
  std::vector<image::Image> images;
  for (int64_t begin = 0; begin < latents.size(0); begin += batch) {
    const at::Tensor decoded = vae_->decode(unscaled.narrow(0, begin, std::min(batch, latents.size(0) - begin)));
    for (int64_t i = 0; i < decoded.size(0); ++i) images.push_back(image::from_signed_unit(decoded[i]));
  }
  return images;
}

std::vector<bool> StableDiffusion::check(const std::vector<image::Image>& images) const {
  if (!safety_checker_) return std::vector<bool>(images.size(), false);
  std::vector<at::Tensor> pixels;
  for (const image::Image& image : images) pixels.push_back(image::preprocess(image, safety_preprocessing_));
  return safety_checker_->flagged(at::stack(pixels).to(device_, dtype_));
}

}  // namespace readback::generate
