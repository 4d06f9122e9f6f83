// Which of a model's parameters unified fine-tuning trains.
#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <optional>
#include <string>

#include "readback/nn/weights.h"
#include "readback/train/unified_options.h"

namespace readback::train {

enum class Side { kCaptioner, kGenerator };

// What the trained parameters' names begin with, before the key in the checkpoint.
inline const std::string kCaptionerPrefix = "captioner.", kUnetPrefix = "unet.";

// Whether `key` is of an adapter that is trained beside a weight, "MODULE.lora_A.weight" or "MODULE.lora_B.weight".
bool is_adapter_key(const std::string& key);

// `parameters` are by checkpoint key, of the captioner or of the UNet. Errors: CheckpointError (a model without
// cross-attention).
std::map<std::string, at::Tensor> select_parameters(const std::map<std::string, at::Tensor>& parameters, Side side,
                                                    Selection selection);

// The adapters that kLora… asks for; none for other selections.
std::optional<nn::AdapterSpec> adapters(Side side, Selection selection, const LoraOptions& lora);

}  // namespace readback::train
