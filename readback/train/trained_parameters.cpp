#include "readback/train/trained_parameters.h"

#include <string_view>
#include <vector>

#include "readback/base/error.h"

namespace readback::train {

namespace {

bool contains(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

std::vector<std::string_view> projections(const std::string& selection, Side side) {
  const bool captioner = side == Side::kCaptioner;
  const std::string_view query = captioner ? ".query." : ".to_q.", key = captioner ? ".key." : ".to_k.",
                         value = captioner ? ".value." : ".to_v.";
  if (selection == "xattn_q") return {query};
  if (selection == "xattn_kv") return {key, value};
  if (selection == "xattn_qkv") return {query, key, value};
  throw UsageError(describe(captioner ? "--train-captioner" : "--train-generator",
                            "xattn_q, xattn_kv, xattn_qkv, all or none", selection));
}

}  // namespace

std::map<std::string, at::Tensor> select_parameters(const std::map<std::string, at::Tensor>& parameters, Side side,
                                                    const std::string& selection) {
  if (selection == "all") return parameters;
  if (selection == "none") return {};
  const std::vector<std::string_view> parts = projections(selection, side);
  const std::string_view layer = side == Side::kCaptioner ? ".crossattention." : ".attn2.";
  std::map<std::string, at::Tensor> selected;
  for (const auto& [key, tensor] : parameters) {
    for (const std::string_view part : parts) {
      if (contains(key, layer) && contains(key, part)) selected[key] = tensor;
    }
  }
  if (selected.empty()) {
    const std::string where = side == Side::kCaptioner ? "captioner" : "generator";
    throw CheckpointError(describe(where, "cross-attention, which " + selection + " trains", "none",
                                   "It must read the image or the text by cross-attention; or train \"all\""));
  }
  return selected;
}

}  // namespace readback::train
