#include "readback/checkpoint/open_backend.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace readback::checkpoint {

Architecture architecture(const Repository& repository) {
  const bool pipeline = repository.has("model_index.json");
  const std::string file = pipeline ? "model_index.json" : "config.json";
  const nlohmann::json config = repository.json(file);
  const auto text = [](const nlohmann::json& json, const char* key) {
    const auto found = json.find(key);
    return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  Architecture result;
  if (config.is_object()) {
    result = {text(config, "_class_name"), text(config, "model_type")};
    if (const auto list = config.find("architectures"); list != config.end() && list->is_array() && !list->empty()) {
      if (list->front().is_string()) result.class_name = list->front().get<std::string>();
    }
  }
  if (result.class_name.empty() && result.model_type.empty()) {
    throw CheckpointError(describe((repository.path() / file).string(),
                                   pipeline ? "_class_name" : "architectures or model_type", "neither of them as text",
                                   "It is what a model is recognised by"));
  }
  return result;
}

namespace {

// What people have beside the classes of the table that they are refused by. "…" at the end: all that begin so.
struct Known {
  const char *name, *is, *next;
};
constexpr const char* kCaptions = "It says what pictures show: give it as captioner";
constexpr const char* kDraws = "It draws pictures: give it as generator";
constexpr const char* kPart = "Name the folder of the whole pipeline, the one with model_index.json";
constexpr const char* kDiffusers = "Stable Diffusion 1.x, 2.x and XL, SD-Turbo, LCM and Karlo are generators";
constexpr const char* kVision = "BLIP, BLIP-2, IDEFICS and SmolVLM are captioners";
constexpr Known kKnown[] = {
    {"BlipForConditionalGeneration", "a captioner, BLIP", kCaptions},
    {"Blip2ForConditionalGeneration", "a captioner, BLIP-2", kCaptions},
    {"IdeficsForVisionText2Text", "a captioner, IDEFICS", kCaptions},
    {"SmolVLMForConditionalGeneration", "a captioner, SmolVLM", kCaptions},
    {"Idefics3ForConditionalGeneration", "a captioner, SmolVLM", kCaptions},
    {"StableDiffusionPipeline", "a generator, Stable Diffusion", kDraws},
    {"StableDiffusionXLPipeline", "a generator, Stable Diffusion XL", kDraws},
    {"LatentConsistencyModelPipeline", "a generator, a latent consistency model", kDraws},
    {"UnCLIPPipeline", "a generator, Karlo", kDraws},
    {"UnCLIPImageVariationPipeline", "a generator of variations, Karlo", kDraws},
    {"clip", "CLIP, which compares pictures with texts", "Give it as clip"},
    {"vit", "a vision transformer such as DINO", "Give it as dino"},
    {"bert", "a BERT, such as sentence encoders are", "Give it as sbert"},
    {"Blip…", "BLIP for another task, which captions nothing",
     "Salesforce/blip-image-captioning-base is BLIP for captions"},
    {"T5…", "T5, a language model that sees no pictures", "BLIP-2 sees by it: Salesforce/blip2-flan-t5-xl"},
    {"OPT…", "OPT, a language model that sees no pictures", "BLIP-2 sees by it: Salesforce/blip2-opt-2.7b"},
    {"Llama…", "LLaMA, a language model that sees no pictures", kVision},
    {"GPT2…", "GPT-2, a language model that sees no pictures", kVision},
    {"Qwen2VL…", "Qwen2-VL, a captioner that is not known here", kVision},
    {"Qwen2_5_VL…", "Qwen2.5-VL, a captioner that is not known here", kVision},
    {"Llava…", "LLaVA, a captioner that is not known here", kVision},
    {"PaliGemma…", "PaliGemma, a captioner that is not known here", kVision},
    {"Florence2…", "Florence-2, a captioner that is not known here", kVision},
    {"Git…", "GIT, a captioner that is not known here", kVision},
    {"StableDiffusion3…", "Stable Diffusion 3, a transformer in place of a UNet", kDiffusers},
    {"Flux…", "Flux, a transformer in place of a UNet", kDiffusers},
    {"PixArt…", "PixArt, a transformer in place of a UNet", kDiffusers},
    {"StableDiffusion…", "a pipeline that needs more than a text", kDiffusers},
    {"Kandinsky…", "Kandinsky", kDiffusers},
    {"UNet2DConditionModel", "a UNet, one part of a pipeline", kPart},
    {"AutoencoderKL", "a VAE, one part of a pipeline", kPart},
    {"CLIPTextModel…", "a text encoder, one part of a pipeline", kPart},
    {"ControlNetModel", "a ControlNet, which needs more than a text", kDiffusers},
};

bool fits(const std::string& name, const std::string& pattern) {
  const std::string open_end = "…";
  if (!pattern.ends_with(open_end)) return name == pattern;
  return name.starts_with(pattern.substr(0, pattern.size() - open_end.size()));
}

}  // namespace

UnknownModel unknown_model(const std::string& where, const std::string& role, const std::string& known,
                           const Architecture& found) {
  const std::string name = found.class_name.empty() ? found.model_type : found.class_name;
  const std::string expected = "a " + role + ": " + known;
  for (const Known& model : kKnown) {
    if (fits(found.class_name, model.name) || found.model_type == model.name) {
      return UnknownModel(describe(where, expected, name + " (" + model.is + ")", model.next));
    }
  }
  return UnknownModel(describe(where, expected, name));
}

std::string scheme(const std::string& spec) {
  const size_t colon = spec.find(':');
  if (colon == std::string::npos || colon < 2) return "";
  const bool word = std::all_of(spec.begin(), spec.begin() + static_cast<std::ptrdiff_t>(colon),
                                [](char c) { return (c >= 'a' && c <= 'z') || c == '+'; });
  return word ? spec.substr(0, colon + 1) : "";
}

}  // namespace readback::checkpoint
