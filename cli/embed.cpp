#include <ATen/ATen.h>
#include <fmt/format.h>

#include "common.h"
#include "readback/base/error.h"
#include "readback/checkpoint/safetensors.h"
#include "readback/image/codec.h"
#include "readback/score/open_embedder.h"

namespace readback::cli {

namespace {

struct EmbedFlags {
  MachineFlags machine;
  std::string model = "emoji-scenes/clip", output;
  std::vector<std::string> images, texts;
};

void run(EmbedFlags& flags) {
  if (flags.images.empty() && flags.texts.empty())
    throw UsageError(describe("readback embed", "--images or --texts", "neither"));
  const auto embedder = score::open_embedder(score::EmbedderRole::kClip, flags.model, flags.machine.open());
  checkpoint::TensorMap tensors;
  if (!flags.images.empty()) {
    std::vector<image::Image> images;
    for (const std::string& path : flags.images) images.push_back(image::load(path, image::Alpha::kOnWhite));
    std::vector<const image::Image*> pointers;
    for (const image::Image& image : images) pointers.push_back(&image);
    const score::Embeds embeds = embedder->embed_images(pointers);
    tensors["image_embeds"] = embeds.projected;
    tensors["image_pooler_output"] = embeds.pooled;
  }
  if (!flags.texts.empty()) {
    const score::Embeds embeds = embedder->embed_texts(flags.texts);
    tensors["text_embeds"] = embeds.projected;
    tensors["text_pooler_output"] = embeds.pooled;
  }
  checkpoint::save_safetensors(tensors, flags.output);
  for (const auto& [name, tensor] : tensors) fmt::print("{}\t{} × {}\n", name, tensor.size(0), tensor.size(1));
}

}  // namespace

void add_embed(CLI::App& app) {
  auto flags = std::make_shared<EmbedFlags>();
  CLI::App* verb = app.add_subcommand("embed", "CLIP vectors of images and texts");
  verb->footer(
      "Examples:\n"
      "  readback embed --images a.jpg b.jpg --output vectors.safetensors\n"
      "  readback embed --model openai/clip-vit-base-patch32 --texts \"a cat\" \"a dog\" --output vectors.safetensors");
  verb->add_option("--model", flags->model, "CLIP repository")->capture_default_str();
  verb->add_option("--images", flags->images, "Image files");
  verb->add_option("--texts", flags->texts, "Texts");
  verb->add_option("--output", flags->output,
                   "safetensors file: image_embeds, image_pooler_output, text_embeds, text_pooler_output")
      ->required();
  flags->machine.add_to(*verb);
  verb->callback([flags] { run(*flags); });
}

}  // namespace readback::cli
