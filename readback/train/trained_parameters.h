// Which of a model's parameters unified fine-tuning trains.
#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <optional>
#include <string>

#include "readback/nn/weights.h"

namespace readback::train {

enum class Side { kCaptioner, kGenerator };

// What the trained parameters' names begin with, before the key in the checkpoint.
inline const std::string kCaptionerPrefix = "captioner.", kUnetPrefix = "unet.";

// Whether `key` is of an adapter that is trained beside a weight, "MODULE.lora_A.weight" or "MODULE.lora_B.weight".
bool is_adapter_key(const std::string& key);

// "xattn_q", "xattn_kv", "xattn_qkv": query, key and value projections of the cross-attention, of BLIP's text decoder
// or of the UNet; "all"; "none". "lora:" before the first four: the adapters beside those layers, "all" being every
// linear layer. `parameters` are by checkpoint key, of the captioner or of the UNet. Errors: UsageError (another name),
// CheckpointError (a model without cross-attention).
std::map<std::string, at::Tensor> select_parameters(const std::map<std::string, at::Tensor>& parameters, Side side,
                                                    const std::string& selection);

struct LoraOptions {
  int64_t rank = 8;
  double alpha = 0;   // 0: as the rank
  uint64_t seed = 0;  // of their initial values
};

// The adapters that "lora:…" asks for; none for other selections.
// Errors: UsageError (rank, alpha, another name).
std::optional<nn::AdapterSpec> adapters(Side side, const std::string& selection, const LoraOptions& lora);

}  // namespace readback::train
