#include "models.h"

#include "readback/caption/blip_captioner.h"
#include "readback/checkpoint/repository.h"
#include "readback/generate/stable_diffusion.h"
#include "readback/score/clip_embedder.h"

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
