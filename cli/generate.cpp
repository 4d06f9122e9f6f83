#include <ATen/ATen.h>
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "common.h"
#include "flags.h"
#include "readback/base/error.h"
#include "readback/base/lines.h"
#include "readback/base/stopwatch.h"
#include "readback/checkpoint/safetensors.h"
#include "readback/generate/latents.h"
#include "readback/generate/open.h"
#include "readback/image/codec.h"

namespace readback::cli {

namespace fs = std::filesystem;

namespace {

struct GenerateFlags {
  MachineFlags machine;
  generate::GenerationOptions generation;
  wire::WireOptions wire;
  std::string generator = "emoji-scenes/generator", prompts_file, latents_file, output_type = "image", output,
              format = "text";
  std::vector<std::string> prompts, pictures;
  int64_t num_images = 1, batch_size = 4;
};

std::vector<std::string> read_prompts(const GenerateFlags& flags) {
  std::vector<std::string> prompts = flags.prompts;
  if (!flags.prompts_file.empty()) {
    const std::string text = read_text(flags.prompts_file);
    for (const std::string_view line : lines_of(text)) {
      if (!is_blank(line)) prompts.emplace_back(line);
    }
  }
  if (prompts.empty() && flags.pictures.empty()) {
    throw UsageError(describe("readback generate", "--prompt, --prompts or --picture", "nothing to draw"));
  }
  return prompts;
}

// What is drawn, and how it is called where its pictures are listed.
struct Work {
  std::vector<generate::Request> requests;
  std::vector<std::string> names;  // of each request: its prompt, or its picture's file
};

// Every prompt, then every picture, each with all its candidates. `latents` of [N, C, h, w] are handed out in that
// order.
Work make_work(const GenerateFlags& flags) {
  const std::vector<std::string> prompts = read_prompts(flags);
  const size_t all = prompts.size() + flags.pictures.size();
  at::Tensor latents;
  if (!flags.latents_file.empty()) {
    const checkpoint::TensorMap tensors = checkpoint::load_safetensors(flags.latents_file);
    if (!tensors.contains("latents") || tensors.at("latents").dim() != 4) {
      throw DataError(describe(flags.latents_file, "a tensor \"latents\" of [N, C, h, w]", "none"));
    }
    latents = tensors.at("latents");
    const int64_t wanted = static_cast<int64_t>(all) * flags.num_images;
    if (latents.size(0) != wanted) {
      throw UsageError(describe(flags.latents_file, fmt::format("latents for {} pictures", wanted),
                                fmt::format("{}", latents.size(0))));
    }
  }
  Work work;
  for (size_t p = 0; p < all; ++p) {
    const bool is_text = p < prompts.size();
    generate::Request request{.prompt = is_text ? prompts[p] : "", .sample = fmt::format("prompt-{:05}", p)};
    if (!is_text) request.picture = image::load(flags.pictures[p - prompts.size()], image::Alpha::kOnWhite);
    for (request.candidate = 0; request.candidate < flags.num_images; ++request.candidate) {
      if (latents.defined()) request.latents = generate::to_latents(latents[std::ssize(work.requests)]);
      work.requests.push_back(request);
      work.names.push_back(is_text ? prompts[p] : flags.pictures[p - prompts.size()]);
    }
  }
  return work;
}

void run(GenerateFlags& flags) {
  flags.generation.latents_only = flags.output_type == "latent";
  const auto [requests, names] = make_work(flags);
  const auto progress = make_progress();
  const Context context = context_with(*progress);
  const auto generator = generate::open(flags.generator, flags.machine.open(), flags.wire, context);
  const auto total = static_cast<int64_t>(requests.size());
  note(*progress, generator->estimate(total));
  progress->begin("generate", total);
  int64_t failed = 0;
  for (int64_t begin = 0; begin < total; begin += flags.batch_size) {
    context.check();
    const int64_t count = std::min(flags.batch_size, total - begin);
    const std::span<const generate::Request> batch(requests.data() + begin, static_cast<size_t>(count));
    const Stopwatch clock;
    const auto results = generator->generate(batch, flags.generation, context);
    const double seconds = clock.seconds() / static_cast<double>(count);
    for (size_t i = 0; i < batch.size(); ++i) {
      const std::string& name = names[static_cast<size_t>(begin) + i];
      nlohmann::ordered_json line = {{batch[i].picture ? "picture" : "prompt", name},
                                     {"candidate", batch[i].candidate}};
      if (!results[i].ok()) {
        ++failed;
        progress->note(fmt::format("\"{}\": {}", name, results[i].failure()));
        line["error"] = results[i].failure();
        if (flags.format == "jsonl") fmt::print("{}\n", line.dump());
        continue;
      }
      const generate::Picture& picture = results[i].value();
      const std::string stem = fmt::format("{}-{:03}", batch[i].sample.substr(7), batch[i].candidate);
      const fs::path file = fs::path(flags.output) / (stem + (flags.generation.latents_only ? ".safetensors" : ".png"));
      if (flags.generation.latents_only) {
        checkpoint::save_safetensors({{"latents", generate::to_tensor(picture.latents).unsqueeze(0)}}, file);
      } else {
        image::save(picture.image, file);
      }
      if (picture.truncated_tokens > 0) {
        progress->note(fmt::format("\"{}\": the last {} tokens do not fit the text encoder and were cut", name,
                                   picture.truncated_tokens));
      }
      if (picture.flagged) progress->note(fmt::format("{}: blanked by the repository's safety checker", file.string()));
      if (flags.format == "text") {
        fmt::print("{}\t{}\n", file.string(), name);
        continue;
      }
      line["file"] = file.string();
      line["seconds"] = seconds;
      if (picture.seed) line["seed"] = *picture.seed;
      if (picture.truncated_tokens > 0) line["truncated_tokens"] = picture.truncated_tokens;
      if (picture.flagged) line["flagged"] = true;
      fmt::print("{}\n", line.dump());
    }
    progress->advance(count);
  }
  progress->end();
  note(*progress, generator->account());
  if (failed > 0) throw DataError(fmt::format("{} of {} pictures could not be drawn", failed, total));
}

}  // namespace

void add_generate(CLI::App& app) {
  auto flags = std::make_shared<GenerateFlags>();
  CLI::App* verb = app.add_subcommand("generate", "Draw what texts say");
  verb->footer(
      "Examples:\n"
      "  readback generate --prompt \"a rocket to the left of a fox on a blue background\" --output pictures\n"
      "  readback generate --generator CompVis/stable-diffusion-v1-4 --prompts prompts.txt --num-images 4 --output "
      "out\n"
      "  readback generate --prompt \"a panda\" --latents noise.safetensors --output-type latent --output out\n"
      "  readback generate --generator kakaobrain/karlo-v1-alpha-image-variations --picture photo.jpg --output anew");
  verb->add_option("--prompt", flags->prompts, "Texts to draw");
  verb->add_option("--prompts", flags->prompts_file, "File with a prompt a line; blank lines are passed over");
  verb->add_option("--picture", flags->pictures,
                   "Pictures to draw anew without words, by an unCLIP that has an image encoder");
  verb->add_option("--generator", flags->generator, generate::kGeneratorSpecs)->capture_default_str();
  add_options(*verb, flags->generation,
              {.wanted = [](const std::string& path, Scope) { return path != "latents_only"; },
               .group = [](const std::string&) { return "Pictures"; }});
  add_options(*verb, flags->wire, kWireGroup);
  verb->add_option("--num-images", flags->num_images, "Candidates a prompt")
      ->capture_default_str()
      ->group("Pictures")
      ->check(CLI::PositiveNumber);
  verb->add_option("--latents", flags->latents_file, "safetensors file whose \"latents\" are the initial noise")
      ->group("Pictures");
  verb->add_option("--output-type", flags->output_type, "image or latent")
      ->capture_default_str()
      ->group("Pictures")
      ->check(CLI::IsMember({"image", "latent"}));
  verb->add_option("--output", flags->output, "Folder for the pictures")->required();
  verb->add_option("--batch-size", flags->batch_size, "Pictures at a time")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  verb->add_option("--format", flags->format, "text or jsonl")
      ->capture_default_str()
      ->check(CLI::IsMember({"text", "jsonl"}));
  flags->machine.add_to(*verb);
  verb->callback([flags] { run(*flags); });
}

}  // namespace readback::cli
