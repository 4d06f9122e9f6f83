#include "readback/generate/karlo.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include "readback/base/device.h"
#include "readback/base/error.h"
#include "readback/base/machine.h"
#include "readback/generate/model_index.h"
#include "readback/image/preprocess.h"

namespace readback::generate {

namespace {

constexpr const char* kVariationPipeline = "UnCLIPImageVariationPipeline";

// The prior makes an image's embedding of a text. A repository without it has an image encoder.
bool has_prior(const checkpoint::Repository& repository) { return repository.has("prior/config.json"); }

void expect_fit(const checkpoint::Repository& repository) {
  const auto config_of = [&](const char* part) { return models::part_config(repository, part); };
  const auto text = models::ClipTextConfig::read(config_of("text_encoder"));
  const auto projection = models::TextProjectionConfig::read(config_of("text_proj"));
  const auto decoder = models::KarloDecoderConfig::read(config_of("decoder"));
  const auto expect_equal = [&](const char* what, int64_t one, const std::string& other_what, int64_t other) {
    if (one == other) return;
    throw CheckpointError(
        describe(repository.name(), fmt::format("{} equal to {} ({})", what, other_what, other), std::to_string(one)));
  };
  const int64_t width = projection.clip_embeddings_dim;
  constexpr const char* kWidth = "text_proj's clip_embeddings_dim";
  expect_equal("the text encoder's projection_dim", text.projection_dim, kWidth, width);
  expect_equal("the text encoder's hidden_size", text.hidden_size, kWidth, width);
  if (has_prior(repository)) {
    const auto prior = models::PriorConfig::read(config_of("prior"));
    expect_equal("the prior's embedding_dim", prior.embedding_dim, kWidth, width);
  }
  if (Karlo::varies(repository)) {
    const auto vision = models::ClipVisionConfig::read(config_of("image_encoder"));
    expect_equal("the image encoder's projection_dim", vision.projection_dim, kWidth, width);
  }
  expect_equal("text_proj's cross_attention_dim", projection.cross_attention_dim, "the decoder's",
               decoder.cross_attention_dim);
  expect_equal("text_proj's time_embed_dim", projection.time_embed_dim,
               "4 times the first of the decoder's block_out_channels", 4 * decoder.block_out_channels[0]);
  expect_equal("the decoder's in_channels", decoder.in_channels, "a picture's", 3);
  expect_equal("the decoder's out_channels", decoder.out_channels, "a picture's with their variances", 6);
  std::vector<int64_t> sides;
  for (const char* part : {"super_res_first", "super_res_last"}) {
    const auto unet = models::KarloSuperResolutionConfig::read(config_of(part));
    expect_equal((std::string(part) + "'s in_channels").c_str(), unet.in_channels, "those of two pictures", 6);
    expect_equal((std::string(part) + "'s out_channels").c_str(), unet.out_channels, "a picture's", 3);
    sides.push_back(unet.sample_size);
  }
  expect_equal("super_res_last's sample_size", sides[1], "super_res_first's", sides[0]);
  for (const char* part : {"prior_scheduler", "decoder_scheduler", "super_res_scheduler"}) {
    if (!repository.has(part + std::string("/scheduler_config.json"))) continue;
    const bool learned = part == std::string("decoder_scheduler");
    if (read_unclip_schedule(repository, part).learned_range == learned) continue;
    throw CheckpointError(describe(repository.name() + "/" + part + ": variance_type",
                                   learned ? "learned_range" : "fixed_small_log",
                                   learned ? "fixed_small_log" : "learned_range"));
  }
}

// Checks the repository before anything large is read.
const checkpoint::Repository& checked(const checkpoint::Repository& repository) {
  ModelIndex index(repository, {"UnCLIPPipeline", kVariationPipeline});
  index.expect("tokenizer", {"CLIPTokenizer", "CLIPTokenizerFast"});
  index.expect("text_encoder", {"CLIPTextModelWithProjection"});
  index.expect("text_proj", {"UnCLIPTextProjModel"});
  if (index.pipeline() == kVariationPipeline) {
    index.expect("image_encoder", {"CLIPVisionModelWithProjection"});
  } else {
    index.expect("prior", {"PriorTransformer"});
    index.expect("prior_scheduler", {"UnCLIPScheduler"});
  }
  index.expect("decoder", {"UNet2DConditionModel"});
  for (const char* part : {"super_res_first", "super_res_last"}) index.expect(part, {"UNet2DModel"});
  for (const char* part : {"decoder_scheduler", "super_res_scheduler"}) index.expect(part, {"UnCLIPScheduler"});
  expect_fit(repository);
  return repository;
}

void expect_usable(std::span<const Request> requests, const GenerationOptions& options, int64_t side) {
  if (!options.negative_prompt.empty()) {
    throw UsageError(describe("negative_prompt", "none: Karlo is guided away from the empty text",
                              "\"" + options.negative_prompt + "\""));
  }
  if (*options.height != side || *options.width != side) {
    throw UsageError(describe("height and width", fmt::format("{} and {}, Karlo's only size", side, side),
                              fmt::format("{} and {}", *options.height, *options.width)));
  }
  if (options.latents_only) {
    throw UsageError(describe("latents_only", "false: Karlo draws pixels and has no latents", "true"));
  }
  for (const Request& request : requests) {
    if (request.latents.empty()) continue;
    throw UsageError(describe("initial latents", "none: Karlo draws pixels and has no latents",
                              fmt::format("{} values", request.latents.values.size())));
  }
}

}  // namespace

bool Karlo::varies(const checkpoint::Repository& repository) {
  return repository.has("text_proj/config.json") && repository.has("image_encoder/config.json");
}

Karlo::Karlo(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype)
    : description_(fmt::format("Karlo {}, {}", checked(repository).name(), dtype_name(dtype))),
      identity_(repository.digest()),
      text_encoder_(repository, device, dtype),
      decoder_(repository, device, dtype),
      super_resolution_(repository, device, dtype) {
  if (has_prior(repository)) {
    prior_.emplace(repository, device, dtype);
    if (prior_->num_embeddings() != text_encoder_.max_tokens()) {
      throw CheckpointError(describe(repository.name() + "/prior: num_embeddings",
                                     fmt::format("{}, the tokens of a text", text_encoder_.max_tokens()),
                                     std::to_string(prior_->num_embeddings())));
    }
  }
  if (Karlo::varies(repository)) image_encoder_.emplace(repository, device, dtype);
  read_defaults(repository);
}

Capabilities Karlo::capabilities() const {
  return {.honours_seeds = true,
          .prompts = prior_.has_value(),
          .variations = image_encoder_.has_value(),
          .concurrent = true,
          .max_prompt_tokens = text_encoder_.max_tokens()};
}

void Karlo::read_defaults(const checkpoint::Repository& repository) {
  defaults_ = {.num_inference_steps = 25,
               .guidance_scale = 8.0,
               .height = super_resolution_.side(),
               .width = super_resolution_.side(),
               .super_res_num_inference_steps = 7};
  if (prior_) {
    defaults_.prior_num_inference_steps = 25;
    defaults_.prior_guidance_scale = 4.0;
  }
  constexpr const char* kFile = "generation_config.json";
  if (!repository.has(kFile)) return;
  checkpoint::ConfigReader config(repository.json(kFile), (repository.path() / kFile).string());
  const auto read = [&](const char* key, auto& option) {
    if (option) {
      option = config.get(key, *option);
    } else {
      config.ignore({key});
    }
  };
  read("num_inference_steps", defaults_.num_inference_steps);
  read("guidance_scale", defaults_.guidance_scale);
  read("prior_num_inference_steps", defaults_.prior_num_inference_steps);
  read("super_res_num_inference_steps", defaults_.super_res_num_inference_steps);
  read("prior_guidance_scale", defaults_.prior_guidance_scale);
  config.finish();
  defaults_rule_ = "the repository's generation_config.json";
}

std::vector<Result<Picture>> Karlo::generate(std::span<const Request> requests, const GenerationOptions& options,
                                             const Context& context) {
  if (requests.empty()) return {};
  const GenerationOptions resolved = resolve(options, *this);
  expect_drawable(requests, *this);
  expect_usable(requests, resolved, super_resolution_.side());
  // Texts and pictures go through other stages, and have other guidance.
  std::vector<Request> texts, pictures;
  for (const Request& request : requests) (request.picture ? pictures : texts).push_back(request);
  auto of_texts = draw({texts, resolved, context}), of_pictures = draw({pictures, resolved, context});
  std::vector<Result<Picture>> results;
  size_t text = 0, picture = 0;
  for (const Request& request : requests) {
    results.push_back(std::move(request.picture ? of_pictures[picture++] : of_texts[text++]));
  }
  return results;
}

// Of requests that are all texts or all pictures.
std::vector<Result<Picture>> Karlo::draw(const KarloCall& call) const {
  if (call.requests.empty()) return {};
  return on_engine([&] {
    c10::NoGradGuard no_grad;
    const KarloTexts texts = text_encoder_.encode(call.requests);
    const at::Tensor embeds = call.varies() ? image_encoder_->image_embeds(call) : prior_->image_embeds(call, texts);
    const at::Tensor pixels = super_resolution_.enlarge(call, decoder_.draw(call, texts, embeds));
    std::vector<Result<Picture>> results;
    for (int64_t i = 0; i < call.size(); ++i) {
      const Request& request = call.requests[static_cast<size_t>(i)];
      if (!pixels[i].isfinite().all().item<bool>()) {
        results.emplace_back(Failure{describe("drawing", "a picture", "numbers that are not finite",
                                              "The type may be too narrow for this model: use bfloat16 or float32")});
        continue;
      }
      results.emplace_back(Picture{.image = image::from_signed_unit(pixels[i]),
                                   .seed = derive_seed(call.options.seed, Purpose::kPictureSeed, request.sample,
                                                       static_cast<uint64_t>(request.candidate)),
                                   .truncated_tokens = texts.truncated[static_cast<size_t>(i)]});
    }
    return results;
  });
}

}  // namespace readback::generate
