#include "readback/train/trained_parameters.h"

#include <fmt/format.h>

#include <string_view>
#include <vector>

#include "readback/base/error.h"

namespace readback::train {

namespace {

constexpr std::string_view kLora = "lora:";

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

std::string_view option_name(Side side) { return side == Side::kCaptioner ? "train_captioner" : "train_generator"; }

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

Projections projections(const std::string& targets, Side side, const std::string& selection) {
  const bool captioner = side == Side::kCaptioner;
  const std::string_view layer = captioner ? ".crossattention." : ".attn2.", query = captioner ? ".query." : ".to_q.",
                         key = captioner ? ".key." : ".to_k.", value = captioner ? ".value." : ".to_v.";
  if (targets == "xattn_q") return {layer, {query}};
  if (targets == "xattn_kv") return {layer, {key, value}};
  if (targets == "xattn_qkv") return {layer, {query, key, value}};
  throw UsageError(describe(std::string(option_name(side)),
                            "xattn_q, xattn_kv, xattn_qkv or all, lora: with one of these, or none", selection));
}

}  // namespace

bool is_adapter_key(const std::string& key) { return contains(key, ".lora_A.") || contains(key, ".lora_B."); }

std::map<std::string, at::Tensor> select_parameters(const std::map<std::string, at::Tensor>& parameters, Side side,
                                                    const std::string& selection) {
  if (selection == "all") return parameters;
  if (selection == "none") return {};
  const bool lora = selection.starts_with(kLora);
  std::optional<Projections> wanted;
  if (!lora) wanted = projections(selection, side, selection);
  std::map<std::string, at::Tensor> selected;
  for (const auto& [key, tensor] : parameters) {
    if (lora ? is_adapter_key(key) : wanted->take(key)) selected[key] = tensor;
  }
  if (selected.empty()) {
    const std::string where = side == Side::kCaptioner ? "captioner" : "generator";
    throw CheckpointError(describe(where, "cross-attention, which " + selection + " trains", "none",
                                   "It must read the image or the text by cross-attention; or train \"all\""));
  }
  return selected;
}

std::optional<nn::AdapterSpec> adapters(Side side, const std::string& selection, const LoraOptions& lora) {
  if (!selection.starts_with(kLora)) return {};
  if (lora.rank < 1) throw UsageError(describe("lora_rank", "a positive number", std::to_string(lora.rank)));
  if (!(lora.alpha >= 0)) throw UsageError(describe("lora_alpha", "0 or more", fmt::format("{}", lora.alpha)));
  nn::AdapterSpec spec{.rank = lora.rank,
                       .alpha = lora.alpha > 0 ? lora.alpha : static_cast<double>(lora.rank),
                       .targets = [](const std::string&) { return true; },
                       .seed = lora.seed};
  if (const std::string targets = selection.substr(kLora.size()); targets != "all") {
    // A layer's name ends where its parameters' keys go on.
    spec.targets = [wanted = projections(targets, side, selection)](const std::string& module) {
      return wanted.take(module + ".");
    };
  }
  return spec;
}

}  // namespace readback::train
