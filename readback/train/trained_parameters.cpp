#include "readback/train/trained_parameters.h"

#include <string_view>
#include <vector>

#include "readback/base/error.h"

namespace readback::train {

namespace {

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

// One of the cross-attention's projections, by what their keys and their layers' names contain.
struct Projections {
  std::string_view layer;
  std::vector<std::string_view> names;
  bool take(std::string_view key) const {
    for (const std::string_view name : names) {
      if (contains(key, layer) && contains(key, name)) return true;
    }
    return false;
  }
};

bool is_lora(Selection selection) { return selection >= Selection::kLoraAll; }

// None for "all" and "none".
std::optional<Projections> projections(Side side, Selection selection) {
  const bool captioner = side == Side::kCaptioner;
  const std::string_view layer = captioner ? ".crossattention." : ".attn2.", query = captioner ? ".query." : ".to_q.",
                         key = captioner ? ".key." : ".to_k.", value = captioner ? ".value." : ".to_v.";
  switch (selection) {
    case Selection::kXattnQ:
    case Selection::kLoraXattnQ:
      return Projections{layer, {query}};
    case Selection::kXattnKv:
    case Selection::kLoraXattnKv:
      return Projections{layer, {key, value}};
    case Selection::kXattnQkv:
    case Selection::kLoraXattnQkv:
      return Projections{layer, {query, key, value}};
    default:
      return {};
  }
}

}  // namespace

bool is_adapter_key(const std::string& key) { return contains(key, ".lora_A.") || contains(key, ".lora_B."); }

std::map<std::string, at::Tensor> select_parameters(const std::map<std::string, at::Tensor>& parameters, Side side,
                                                    Selection selection) {
  if (selection == Selection::kAll) return parameters;
  if (selection == Selection::kNone) return {};
  const std::optional<Projections> wanted = projections(side, selection);
  std::map<std::string, at::Tensor> selected;
  for (const auto& [key, tensor] : parameters) {
    if (is_lora(selection) ? is_adapter_key(key) : wanted->take(key)) selected[key] = tensor;
  }
  if (selected.empty()) {
    const std::string where = side == Side::kCaptioner ? "captioner" : "generator";
    throw CheckpointError(describe(where, "cross-attention, which " + name_of(selection) + " trains", "none",
                                   "It must read the image or the text by cross-attention; or train \"all\""));
  }
  return selected;
}

std::optional<nn::AdapterSpec> adapters(Side side, Selection selection, const LoraOptions& lora) {
  if (!is_lora(selection)) return {};
  nn::AdapterSpec spec{.rank = lora.rank,
                       .alpha = lora.alpha > 0 ? lora.alpha : static_cast<double>(lora.rank),
                       .targets = [](const std::string&) { return true; },
                       .seed = lora.seed};
  if (const auto wanted = projections(side, selection)) {
    // A layer's name ends where its parameters' keys go on.
    spec.targets = [wanted = *wanted](const std::string& module) { return wanted.take(module + "."); };
  }
  return spec;
}

}  // namespace readback::train
