#include "readback/checkpoint/single_file.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "readback/base/error.h"
#include "readback/base/files.h"
#include "readback/checkpoint/lavis_names.h"
#include "readback/checkpoint/ldm_names.h"

namespace readback::checkpoint {

namespace fs = std::filesystem;

namespace {

using nlohmann::json;

const std::string kUnet = "model.diffusion_model.", kVae = "first_stage_model.",
                  kClip = "cond_stage_model.transformer.", kOpenClip = "cond_stage_model.model.",
                  kFirstOfXl = "conditioner.embedders.0.transformer.", kSecondOfXl = "conditioner.embedders.1.model.";

bool has_below(const TensorMap& tensors, const std::string& prefix) {
  const auto found = tensors.lower_bound(prefix);
  return found != tensors.end() && found->first.starts_with(prefix);
}

TensorMap below(const TensorMap& tensors, const std::string& prefix) {
  TensorMap result;
  for (auto key = tensors.lower_bound(prefix); key != tensors.end() && key->first.starts_with(prefix); ++key)
    result[key->first.substr(prefix.size())] = key->second;
  return result;
}

// Models that are told by one of their keys and not read, and what to do.
constexpr const char* kFolder = "Name the folder of a Hugging Face repository that holds the model";
constexpr const char* kMoreThanText = "It draws by more than a text, which nothing here gives it: leave it out";
constexpr const char* kWords = "Say in the prompt what it stands for; a LoRA of the same would be read";
constexpr const char* kCaptioners = "BLIP for captions would do, or BLIP-2 with OPT or T5";
struct Other {
  const char *key, *name, *next = kFolder;
  bool beside_a_unet = false;  // of Stable Diffusion
};
constexpr Other kOthers[] = {
    {"conditioner.embedders.0.model.", "the refiner of Stable Diffusion XL", kFolder, true},
    {"control_model.", "a ControlNet", kMoreThanText, true},
    {"controlnet_cond_embedding.", "a ControlNet", kMoreThanText},
    {"input_hint_block.", "a ControlNet", kMoreThanText},
    {"adapter.body.", "a T2I adapter", kMoreThanText},
    {"body.0.", "a T2I adapter", kMoreThanText},
    {"image_proj.", "an IP-Adapter", kMoreThanText},
    {"ip_adapter.", "an IP-Adapter", kMoreThanText},
    {"model.diffusion_model.joint_blocks.", "Stable Diffusion 3"},
    {"joint_blocks.", "Stable Diffusion 3"},
    {"model.diffusion_model.double_blocks.", "Flux"},
    {"double_blocks.", "Flux"},
    {"down_blocks.", "diffusers' UNet without its pipeline"},
    {"encoder.down_blocks.", "diffusers' VAE without its pipeline"},
    {"encoder.down.", "a VAE alone"},
    {"first_stage_model.", "a VAE alone"},
    {"text_model.", "a CLIP model without its repository"},
    {"visual.", "a CLIP model without its repository"},
    {"text_encoder.", "LAVIS's BLIP for retrieval or questions, which captions nothing", kCaptioners},
    {"llm_proj.", "InstructBLIP of LAVIS", kCaptioners},
    {"Qformer.", "BLIP-2 of LAVIS before it had a language model", kCaptioners},
    {"emb_params", "a textual inversion", kWords},
    {"string_to_param.", "a textual inversion", kWords},
    {"clip_g", "a textual inversion", kWords},
    {"<", "a textual inversion", kWords},
};

[[noreturn]] void refuse(const fs::path& path, const std::string& got, const std::string& next) {
  throw CheckpointError(describe(
      path.string(), "Stable Diffusion 1.x, 2.x or XL in one file, BLIP or BLIP-2 of LAVIS, or a LoRA", got, next));
}

[[noreturn]] void refuse_other(const fs::path& path, const TensorMap& tensors) {
  for (const Other& other : kOthers)
    if (has_below(tensors, other.key)) refuse(path, other.name, other.next);
  refuse(path, tensors.empty() ? "no tensors" : "other names, such as '" + tensors.begin()->first + "'", kFolder);
}

// Where training saved more than the weights, they are below one of these.
TensorMap weights_of(TensorMap tensors) {
  for (const char* prefix : {"state_dict.", "model."}) {
    const bool own = has_below(tensors, kUnet);  // begins with "model." itself
    if (!own && has_below(tensors, prefix)) tensors = below(tensors, prefix);
  }
  return tensors;
}

void read_stable_diffusion(SingleFile& file, const TensorMap& tensors) {
  const TensorMap unet = below(tensors, kUnet);
  const auto input = unet.find("input_blocks.0.0.weight");
  if (input == unet.end()) refuse_other(file.path, tensors);
  if (input->second.dim() == 4 && input->second.size(1) != 4) {
    refuse(file.path,
           fmt::format("a Stable Diffusion that reads {} channels, for inpainting, editing, depth or upscaling",
                       input->second.size(1)),
           "Use a model that makes pictures from text alone");
  }
  file.parts["unet"] = unet_of_ldm(unet);
  // Without its VAE a file is whole with a base that has one.
  for (const std::string& prefix : {kVae, std::string("vae.")})
    if (has_below(tensors, prefix)) file.parts["vae"] = vae_of_ldm(below(tensors, prefix));
  const std::vector<std::string> end = {"<|endoftext|>"}, mark = {"!"};
  const auto clip = [&](const std::string& prefix) {
    TensorMap text = below(tensors, prefix), result;
    for (auto& [key, tensor] : text)
      result[(key.starts_with("text_model.") ? "" : "text_model.") + key] = tensor;  // some files lack the level
    return result;
  };
  if (has_below(tensors, kSecondOfXl)) {
    file.kind = "Stable Diffusion XL";
    file.published = "stabilityai/stable-diffusion-xl-base-1.0";
    file.configurations = stable_diffusion_xl();
    file.parts["text_encoder"] = clip(kFirstOfXl);
    file.parts["text_encoder_2"] = text_encoder_of_open_clip(below(tensors, kSecondOfXl), 32, true);
    file.vocabularies = {{"tokenizer", true, end}, {"tokenizer_2", true, mark}};
  } else if (has_below(tensors, kOpenClip)) {
    file.kind = "Stable Diffusion 2.x";
    file.published = "stabilityai/stable-diffusion-2-1";
    file.configurations = stable_diffusion_2();
    file.parts["text_encoder"] = text_encoder_of_open_clip(below(tensors, kOpenClip), 23, false);
    file.vocabularies = {{"tokenizer", true, mark}};
  } else {
    file.kind = "Stable Diffusion 1.x";
    file.published = "stable-diffusion-v1-5/stable-diffusion-v1-5";
    file.configurations = stable_diffusion_1();
    if (has_below(tensors, kClip)) file.parts["text_encoder"] = clip(kClip);
    file.vocabularies = {{"tokenizer", true, end}};
  }
}

// BLIP for questions: its decoder reads the states of a question, not a picture's. What was trained on captions has a
// text encoder, too, with the projections that compare it with pictures.
bool answers(const TensorMap& tensors) {
  return has_below(tensors, "text_encoder.") && !has_below(tensors, "vision_proj.");
}

void read_blip(SingleFile& file, const TensorMap& tensors) {
  file.kind = "BLIP of LAVIS";
  file.published = "Salesforce/blip-image-captioning-base";
  file.vocabularies = {{"", false}};
  TensorMap model = blip_of_lavis(tensors);
  const auto positions = model.find("vision_model.embeddings.position_embedding");
  if (positions == model.end() || positions->second.dim() != 3 || positions->second.size(1) < 2)
    refuse(file.path, "a BLIP without positions of its patches", "The file may be incomplete");
  const int64_t width = positions->second.size(2), patches = positions->second.size(1) - 1,
                side = std::llround(std::sqrt(static_cast<double>(patches)));
  if (width == 768 || width == 1024) file.configurations = blip(width == 1024, side * 16);
  file.parts[""] = std::move(model);
}

void read_blip2(SingleFile& file, const TensorMap& tensors) {
  const bool opt = has_below(tensors, "opt_proj.");
  file.kind = opt ? "BLIP-2 of LAVIS with OPT" : "BLIP-2 of LAVIS with T5";
  file.published = opt ? "Salesforce/blip2-opt-2.7b" : "Salesforce/blip2-flan-t5-xl";
  file.parts[""] = blip2_of_lavis(tensors);
}

std::string text_of(const json& config, const char* key) {
  const json found = config.is_object() ? config.value(key, json()) : json();
  if (found.is_object() && found.contains("content") && found["content"].is_string()) return found["content"];
  return found.is_string() ? found.get<std::string>() : "";
}

json read_if_there(const fs::path& path) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return json::object();
  try {
    return read_json(path);
  } catch (const DataError& problem) {
    throw CheckpointError(problem.what());
  }
}

bool is_vocabulary(const fs::path& folder, bool byte_pairs) {
  const auto is_file = [&](const char* name) {
    std::error_code error;
    return fs::is_regular_file(folder / name, error);
  };
  if (is_file("tokenizer.json")) return true;
  return byte_pairs ? is_file("vocab.json") && is_file("merges.txt") : is_file("vocab.txt");
}

// As transformers: what special_tokens_map.json says goes before tokenizer_config.json, and CLIP pads with its end.
std::string padding_of(const fs::path& folder) {
  for (const char* file : {"special_tokens_map.json", "tokenizer_config.json"}) {
    if (const std::string token = text_of(read_if_there(folder / file), "pad_token"); !token.empty()) return token;
  }
  return "<|endoftext|>";
}

}  // namespace

SingleFile read_single_file(const fs::path& path, TensorMap tensors) {
  tensors = weights_of(std::move(tensors));
  SingleFile file;
  file.path = path;
  for (const Other& other : kOthers)
    if (other.beside_a_unet && has_below(tensors, other.key)) refuse_other(path, tensors);
  if (has_below(tensors, kUnet)) {
    read_stable_diffusion(file, tensors);
  } else if (has_below(tensors, "opt_proj.") || has_below(tensors, "t5_proj.")) {
    read_blip2(file, tensors);
  } else if (has_below(tensors, "visual_encoder.") && has_below(tensors, "text_decoder.") && !answers(tensors)) {
    read_blip(file, tensors);
  } else {
    refuse_other(path, tensors);
  }
  return file;
}

bool is_whole_base(const fs::path& folder, const SingleFile& file) {
  if (const auto index = file.configurations.find("model_index.json"); index != file.configurations.end())
    return text_of(read_if_there(folder / "model_index.json"), "_class_name") == text_of(index->second, "_class_name");
  const char* const type = file.kind.starts_with("BLIP-2") ? "blip-2" : "blip";
  return text_of(read_if_there(folder / "config.json"), "model_type") == type;
}

fs::path find_vocabulary(const fs::path& base, const SingleFile& file, const SingleFile::Vocabulary& vocabulary) {
  const std::string files =
      vocabulary.byte_pairs ? "tokenizer.json, or vocab.json and merges.txt" : "tokenizer.json or vocab.txt";
  const std::string what = file.kind + " in one file, whose " + (vocabulary.byte_pairs ? "CLIP" : "BERT") +
                           " vocabulary (" + files + ") is here";
  const std::string next = fmt::format(
      "A file has no vocabulary. Write '{}@BASE', where BASE is a repository such as {} (its small files are enough), "
      "or put its {} beside the file",
      file.path.string(), file.published, vocabulary.subfolder.empty() ? "vocabulary" : vocabulary.subfolder + "/");
  std::string seen;
  for (const fs::path& folder : {base / vocabulary.subfolder, base}) {
    if (!is_vocabulary(folder, vocabulary.byte_pairs)) continue;
    const std::string padding = vocabulary.byte_pairs ? padding_of(folder) : "";
    const auto& wanted = vocabulary.padding;
    if (wanted.empty() || std::ranges::find(wanted, padding) != wanted.end()) return folder;
    seen = fmt::format("in {} one that pads with '{}' and not with '{}'", folder.string(), padding, wanted.front());
  }
  throw CheckpointError(describe(file.path.string(), what, seen.empty() ? "none in " + base.string() : seen, next));
}

}  // namespace readback::checkpoint
