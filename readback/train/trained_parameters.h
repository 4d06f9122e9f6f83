// Which of a model's parameters fine-tuning trains.
#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "readback/nn/weights.h"
#include "readback/train/unified_options.h"

namespace readback::train {

// What the trained parameters' names begin with, before the key in the checkpoint.
inline const std::string kCaptionerPrefix = "captioner.", kUnetPrefix = "unet.";

// What a class that can be tuned calls its layers, by parts of their names. Views of literals.
struct Tunable {
  std::string_view class_name, title;         // of a repository's configuration; for people
  std::string_view vision;                    // what reads pictures and nothing else, by the beginning of its keys
  std::string_view cross_attention;           // by which the model looks at pictures or texts; empty: it has none
  std::string_view query, key, value;         // its projections
  std::vector<std::string_view> bridge = {};  // what stands between pictures and language

  bool is_unet() const { return title == "UNet"; }
  std::string prefix() const { return is_unet() ? kUnetPrefix : kCaptionerPrefix; }
  std::string folder() const { return is_unet() ? "unet" : ""; }  // of its repository
};

// The table of all that can be tuned. Errors: CheckpointError that names what is known.
const Tunable& tunable(const std::string& class_name);
bool is_tunable(const std::string& class_name);

// Errors: UsageError that says what would work, for a selection that trains nothing of the model.
void check_selection(const Tunable& model, Selection selection);

// Whether `key` is of an adapter that is trained beside a weight, "MODULE.lora_A.weight" or "MODULE.lora_B.weight".
bool is_adapter_key(const std::string& key);

// `parameters` are by checkpoint key. Errors: CheckpointError (a model without cross-attention).
std::map<std::string, at::Tensor> select_parameters(const std::map<std::string, at::Tensor>& parameters,
                                                    const Tunable& model, Selection selection);

// The adapters that kLora… asks for; none for other selections.
std::optional<nn::AdapterSpec> adapters(const Tunable& model, Selection selection, const LoraOptions& lora);

}  // namespace readback::train
