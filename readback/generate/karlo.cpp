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

void expect_fit(const checkpoint::Repository& repository) {
  const auto config_of = [&](const char* part) { return models::part_config(repository, part); };
  const auto text = models::ClipTextConfig::read(config_of("text_encoder"));
  const auto prior = models::PriorConfig::read(config_of("prior"));
  const auto projection = models::TextProjectionConfig::read(config_of("text_proj"));
  const auto decoder = models::KarloDecoderConfig::read(config_of("decoder"));
  const auto expect_equal = [&](const char* what, int64_t one, const std::string& other_what, int64_t other) {
    if (one == other) return;
    throw CheckpointError(
        describe(repository.name(), fmt::format("{} equal to {} ({})", what, other_what, other), std::to_string(one)));
  };
  expect_equal("the prior's embedding_dim", prior.embedding_dim, "the text encoder's projection_dim",
               text.projection_dim);
  expect_equal("the prior's embedding_dim", prior.embedding_dim, "the text encoder's hidden_size", text.hidden_size);
  expect_equal("text_proj's clip_embeddings_dim", projection.clip_embeddings_dim, "the prior's embedding_dim",
               prior.embedding_dim);
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
    const bool learned = part == std::string("decoder_scheduler");
    if (read_unclip_schedule(repository, part).learned_range == learned) continue;
    throw CheckpointError(describe(repository.name() + "/" + part + ": variance_type",
                                   learned ? "learned_range" : "fixed_small_log",
                                   learned ? "fixed_small_log" : "learned_range"));
  }
}

// Checks the repository before anything large is read.
const checkpoint::Repository& checked(const checkpoint::Repository& repository) {
  ModelIndex index(repository, {"UnCLIPPipeline"});
  index.expect("tokenizer", {"CLIPTokenizer", "CLIPTokenizerFast"});
  index.expect("text_encoder", {"CLIPTextModelWithProjection"});
  index.expect("text_proj", {"UnCLIPTextProjModel"});
  index.expect("prior", {"PriorTransformer"});
  index.expect("decoder", {"UNet2DConditionModel"});
  for (const char* part : {"super_res_first", "super_res_last"}) index.expect(part, {"UNet2DModel"});
  for (const char* part : {"prior_scheduler", "decoder_scheduler", "super_res_scheduler"}) {
    index.expect(part, {"UnCLIPScheduler"});
  }
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

Karlo::Karlo(const checkpoint::Repository& repository, c10::Device device, c10::ScalarType dtype)
    : description_(fmt::format("Karlo {}, {}", checked(repository).name(), dtype_name(dtype))),
      identity_(repository.digest()),
      text_encoder_(repository, device, dtype),
      prior_(repository, device, dtype),
      decoder_(repository, device, dtype),
      super_resolution_(repository, device, dtype) {
  const int64_t texts = models::PriorConfig::read(models::part_config(repository, "prior")).num_embeddings;
  if (texts != text_encoder_.max_tokens()) {
    throw CheckpointError(describe(repository.name() + "/prior: num_embeddings",
                                   fmt::format("{}, the tokens of a text", text_encoder_.max_tokens()),
                                   std::to_string(texts)));
  }
  read_defaults(repository);
}

Capabilities Karlo::capabilities() const {
  return {.honours_seeds = true, .concurrent = true, .max_prompt_tokens = text_encoder_.max_tokens()};
}

void Karlo::read_defaults(const checkpoint::Repository& repository) {
  defaults_ = {.num_inference_steps = 25,
               .guidance_scale = 8.0,
               .height = super_resolution_.side(),
               .width = super_resolution_.side(),
               .prior_num_inference_steps = 25,
               .super_res_num_inference_steps = 7,
               .prior_guidance_scale = 4.0};
  constexpr const char* kFile = "generation_config.json";
  if (!repository.has(kFile)) return;
  checkpoint::ConfigReader config(repository.json(kFile), (repository.path() / kFile).string());
  const auto read = [&](const char* key, auto& option) { option = config.get(key, *option); };
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
  expect_usable(requests, resolved, super_resolution_.side());
  return on_engine([&] {
    c10::NoGradGuard no_grad;
    const KarloCall call{requests, resolved, context};
    const KarloTexts texts = text_encoder_.encode(requests);
    const at::Tensor small = decoder_.draw(call, texts, prior_.image_embeds(call, texts));
    const at::Tensor pixels = super_resolution_.enlarge(call, small);
    std::vector<Result<Picture>> results;
    for (size_t i = 0; i < requests.size(); ++i) {
      const at::Tensor own = pixels[static_cast<int64_t>(i)];
      if (!own.isfinite().all().item<bool>()) {
        results.emplace_back(Failure{describe("drawing", "a picture", "numbers that are not finite",
                                              "The type may be too narrow for this model: use bfloat16 or float32")});
        continue;
      }
      results.emplace_back(Picture{.image = image::from_signed_unit(own),
                                   .seed = derive_seed(resolved.seed, Purpose::kPictureSeed, requests[i].sample,
                                                       static_cast<uint64_t>(requests[i].candidate)),
                                   .truncated_tokens = texts.truncated[i]});
    }
    return results;
  });
}

}  // namespace readback::generate
