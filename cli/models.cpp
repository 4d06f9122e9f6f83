#include "models.h"

#include <nlohmann/json.hpp>

#include "readback/caption/blip_captioner.h"
#include "readback/checkpoint/repository.h"
#include "readback/generate/stable_diffusion.h"
#include "readback/score/clip_embedder.h"
#include "readback/score/dino_embedder.h"
#include "readback/score/inception_embedder.h"
#include "readback/score/sentence_embedder.h"

namespace readback::cli {

std::unique_ptr<caption::Captioner> load_captioner(const std::string& repository, const Machine& machine) {
  return std::make_unique<caption::BlipCaptioner>(checkpoint::Repository(repository), machine.resolve_device(),
                                                  machine.resolve_dtype());
}

std::unique_ptr<generate::Generator> load_generator(const std::string& repository, const Machine& machine) {
  return std::make_unique<generate::StableDiffusion>(checkpoint::Repository(repository), machine.resolve_device(),
                                                     machine.resolve_dtype());
}

std::shared_ptr<score::ImageTextEmbedder> load_embedder(const std::string& repository, const Machine& machine) {
  return std::make_shared<score::ClipEmbedder>(checkpoint::Repository(repository), machine.resolve_device(),
                                               machine.resolve_dtype());
}

namespace {
constexpr const char* kMetricsGroup = "Checkpoints of metrics";
}

void MetricFlags::add_to(CLI::App& verb) {
  add_clip(verb);
  add_dino(verb);
  add_inception(verb);
  add_sbert(verb);
  add_vectors(verb);
}

void MetricFlags::add_clip(CLI::App& verb) {
  auto* option = verb.add_option("--clip", clip, "CLIP repository, such as openai/clip-vit-base-patch32");
  option->group(kMetricsGroup);
  if (!clip.empty()) option->capture_default_str();
}

void MetricFlags::add_dino(CLI::App& verb) {
  verb.add_option("--dino", dino, "DINO repository, such as facebook/dino-vitb8")->group(kMetricsGroup);
  verb.add_option("--dino-size", dino_size, "Pixels of a side that DINO sees (384 in the paper); 0: the repository's")
      ->capture_default_str()
      ->group(kMetricsGroup)
      ->check(CLI::NonNegativeNumber);
}

void MetricFlags::add_inception(CLI::App& verb) {
  verb.add_option("--inception", inception,
                  "Inception-v3 weights in torch-fidelity's layout: a .pth file or repository")
      ->group(kMetricsGroup);
}

void MetricFlags::add_sbert(CLI::App& verb) {
  verb.add_option("--sbert", sbert, "Repository of a sentence encoder, such as sentence-transformers/all-MiniLM-L6-v2")
      ->group(kMetricsGroup);
}

void MetricFlags::add_vectors(CLI::App& verb) {
  verb.add_option("--vectors", vectors, "Word vectors in GloVe's text format")->group(kMetricsGroup);
}

std::set<std::string> MetricFlags::given() const {
  std::set<std::string> flags;
  if (!clip.empty()) flags.insert("--clip");
  if (!dino.empty()) flags.insert("--dino");
  if (!inception.empty()) flags.insert("--inception");
  if (!sbert.empty()) flags.insert("--sbert");
  if (!vectors.empty()) flags.insert("--vectors");
  return flags;
}

nlohmann::json MetricFlags::digests() const {
  nlohmann::json digests = nlohmann::json::object();
  if (!clip.empty()) digests["clip"] = checkpoint::Repository(clip).digest();
  if (!dino.empty()) digests["dino"] = checkpoint::Repository(dino).digest();
  if (dino_size > 0) digests["dino size"] = dino_size;
  if (!inception.empty()) digests["inception"] = score::InceptionEmbedder::digest(inception);
  if (!sbert.empty()) digests["sbert"] = checkpoint::Repository(sbert).digest();
  if (!vectors.empty()) digests["vectors"] = score::WordVectors::digest(vectors);
  return digests;
}

score::MetricContext MetricFlags::context(const Machine& machine, score::EmbeddingCache::Originals originals) const {
  using Cache = score::Lazy<score::EmbeddingCache>;
  const auto cached = [originals](std::shared_ptr<score::ImageTextEmbedder> embedder) {
    return std::make_shared<score::EmbeddingCache>(std::move(embedder), originals);
  };
  score::MetricContext context;
  if (!clip.empty()) context.clip = Cache([=, *this] { return cached(load_embedder(clip, machine)); });
  if (!dino.empty()) {
    context.dino = Cache([=, *this] {
      score::DinoOptions options;
      if (dino_size > 0) options.side = dino_size;
      return cached(std::make_shared<score::DinoEmbedder>(checkpoint::Repository(dino), machine.resolve_device(),
                                                          machine.resolve_dtype(), options));
    });
  }
  if (!inception.empty()) {
    context.inception = Cache(
        [=, *this] { return cached(std::make_shared<score::InceptionEmbedder>(inception, machine.resolve_device())); });
  }
  if (!sbert.empty()) {
    context.sbert = Cache([=, *this] {
      return cached(std::make_shared<score::SentenceEmbedder>(checkpoint::Repository(sbert), machine.resolve_device(),
                                                              machine.resolve_dtype()));
    });
  }
  if (!vectors.empty()) {
    context.vectors = score::Lazy<const score::WordVectors>(
        [path = vectors] { return std::make_shared<const score::WordVectors>(path); });
  }
  return context;
}

void add_decoding_flags(CLI::App& verb, caption::DecodingOptions& options) {
  const char* group = "Captions";
  verb.add_option("--prompt", options.prompt, "What every caption begins with")->capture_default_str()->group(group);
  verb.add_option("--num-beams", options.num_beams, "Beams; 1: greedy")
      ->capture_default_str()
      ->group(group)
      ->check(CLI::PositiveNumber);
  verb.add_option("--max-length", options.max_length, "Tokens, the prompt's counted")
      ->capture_default_str()
      ->group(group)
      ->check(CLI::PositiveNumber);
  verb.add_option("--min-length", options.min_length, "Tokens, the prompt's counted")
      ->capture_default_str()
      ->group(group)
      ->check(CLI::NonNegativeNumber);
  verb.add_option("--length-penalty", options.length_penalty,
                  "Exponent of the length that a beam's score is divided by")
      ->capture_default_str()
      ->group(group);
  verb.add_option("--repetition-penalty", options.repetition_penalty, "Above 1: repeat less")
      ->capture_default_str()
      ->group(group)
      ->check(CLI::PositiveNumber);
  verb.add_option("--top-p", options.top_p, "Nucleus sampling: smallest set of tokens with this probability; 1: all")
      ->capture_default_str()
      ->group(group)
      ->check(CLI::Range(0.0, 1.0));
  verb.add_option("--top-k", options.top_k, "Sampling: the k likeliest tokens; 0: all")
      ->capture_default_str()
      ->group(group)
      ->check(CLI::NonNegativeNumber);
  verb.add_option("--temperature", options.temperature, "Sampling: below 1 sharper, above 1 flatter")
      ->capture_default_str()
      ->group(group)
      ->check(CLI::PositiveNumber);
}

void add_generation_flags(CLI::App& verb, generate::GenerationOptions& options) {
  const char* group = "Pictures";
  verb.add_option("--negative-prompt", options.negative_prompt, "What the picture should not show")->group(group);
  verb.add_option("--num-inference-steps", options.num_inference_steps, "Denoising steps")
      ->capture_default_str()
      ->group(group)
      ->check(CLI::PositiveNumber);
  verb.add_option("--guidance-scale", options.guidance_scale, "How much the text counts; 1: no guidance")
      ->capture_default_str()
      ->group(group);
  verb.add_option("--scheduler", options.scheduler,
                  "pndm, ddim, euler, euler-a, dpm++2m or dpm++2m-karras; default: the repository's")
      ->group(group);
  verb.add_option("--height", options.height, "Pixels; 0: the model's own")
      ->capture_default_str()
      ->group(group)
      ->check(CLI::NonNegativeNumber);
  verb.add_option("--width", options.width, "Pixels; 0: the model's own")
      ->capture_default_str()
      ->group(group)
      ->check(CLI::NonNegativeNumber);
}

}  // namespace readback::cli
