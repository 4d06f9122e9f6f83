#include "readback/train/trained_parameters.h"

#include <fmt/format.h>

#include <algorithm>

#include "readback/base/error.h"

namespace readback::train {

namespace {

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

const std::vector<Tunable>& table() {
  const Tunable smolvlm{.class_name = "SmolVLMForConditionalGeneration",
                        .title = "SmolVLM",
                        .vision = "model.vision_model.",
                        .bridge = {"model.connector."}};
  Tunable first_smolvlm = smolvlm;
  first_smolvlm.class_name = "Idefics3ForConditionalGeneration";
  static const std::vector<Tunable> models = {
      {"BlipForConditionalGeneration",
       "BLIP",
       "vision_model.",
       ".crossattention.",
       ".query.",
       ".key.",
       ".value.",
       {".crossattention."}},
      {"Blip2ForConditionalGeneration",
       "BLIP-2",
       "vision_model.",
       ".crossattention.",
       ".query.",
       ".key.",
       ".value.",
       {"qformer.", "query_tokens", "language_projection."}},
      {"IdeficsForVisionText2Text",
       "IDEFICS",
       "model.vision_model.",
       ".cross_attn.",
       ".q_proj.",
       ".k_proj.",
       ".v_proj.",
       {"gated_cross_attn_layers.", "perceiver_resampler."}},
      smolvlm,
      first_smolvlm,
      {"UNet2DConditionModel", "UNet", "", ".attn2.", ".to_q.", ".to_k.", ".to_v.", {".attn2."}},
  };
  return models;
}

bool is_lora(Selection selection) { return selection >= Selection::kLoraAll; }

// What of a model is trained: names that contain one of `names` and `layer`.
struct Chosen {
  std::string_view layer;
  std::vector<std::string_view> names;
  bool take(std::string_view key) const {
    for (const std::string_view name : names) {
      if (contains(key, layer) && contains(key, name)) return true;
    }
    return false;
  }
};

// None for "all" and "none".
std::optional<Chosen> chosen(const Tunable& model, Selection selection) {
  switch (selection) {
    case Selection::kXattnQ:
    case Selection::kLoraXattnQ:
      return Chosen{model.cross_attention, {model.query}};
    case Selection::kXattnKv:
    case Selection::kLoraXattnKv:
      return Chosen{model.cross_attention, {model.key, model.value}};
    case Selection::kXattnQkv:
    case Selection::kLoraXattnQkv:
      return Chosen{model.cross_attention, {model.query, model.key, model.value}};
    case Selection::kBridge:
    case Selection::kLoraBridge:
      return Chosen{"", model.bridge};
    default:
      return {};
  }
}

}  // namespace

const Tunable& tunable(const std::string& class_name) {
  std::string known;
  for (const Tunable& model : table()) {
    if (model.class_name == class_name) return model;
    if (!model.is_unet()) known += (known.empty() ? "" : ", ") + std::string(model.class_name);
  }
  throw CheckpointError(describe("fine-tuning", "a captioner that can be tuned: " + known, class_name));
}

bool is_tunable(const std::string& class_name) {
  return std::ranges::any_of(table(), [&](const Tunable& model) { return model.class_name == class_name; });
}

void check_selection(const Tunable& model, Selection selection) {
  const std::optional<Chosen> wanted = chosen(model, selection);
  if (!wanted || wanted->names.front() != std::string_view()) return;
  throw UsageError(describe(model.is_unet() ? "train_generator" : "train_captioner",
                            fmt::format("bridge, all or adapters of these (lora:bridge, lora:all) for {}", model.title),
                            fmt::format("\"{}\", a cross-attention's", name_of(selection)),
                            "It reads pictures as tokens of its text and has no cross-attention"));
}

bool is_adapter_key(const std::string& key) { return contains(key, ".lora_A.") || contains(key, ".lora_B."); }

std::map<std::string, at::Tensor> select_parameters(const std::map<std::string, at::Tensor>& parameters,
                                                    const Tunable& model, Selection selection) {
  if (selection == Selection::kAll) return parameters;
  if (selection == Selection::kNone) return {};
  check_selection(model, selection);
  const std::optional<Chosen> wanted = chosen(model, selection);
  std::map<std::string, at::Tensor> selected;
  for (const auto& [key, tensor] : parameters) {
    if (is_lora(selection) ? is_adapter_key(key) : wanted->take(key)) selected[key] = tensor;
  }
  if (selected.empty()) {
    const std::string where = model.is_unet() ? "generator" : "captioner";
    throw CheckpointError(describe(where, "cross-attention, which " + name_of(selection) + " trains", "none",
                                   "It must read the image or the text by cross-attention; or train \"all\""));
  }
  return selected;
}

std::optional<nn::AdapterSpec> adapters(const Tunable& model, Selection selection, const LoraOptions& lora) {
  if (!is_lora(selection)) return {};
  check_selection(model, selection);
  nn::AdapterSpec spec{.rank = lora.rank,
                       .alpha = lora.alpha > 0 ? lora.alpha : static_cast<double>(lora.rank),
                       // As PEFT's "all-linear", which leaves out what gives the logits.
                       .targets = [](const std::string& module) { return !contains(module, "lm_head"); },
                       .seed = lora.seed};
  if (const auto wanted = chosen(model, selection)) {
    // A layer's name ends where its parameters' keys go on.
    spec.targets = [wanted = *wanted](const std::string& module) { return wanted.take(module + "."); };
  }
  return spec;
}

}  // namespace readback::train
