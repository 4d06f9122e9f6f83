// Which of a model's parameters unified fine-tuning trains.
#pragma once
#include <ATen/core/Tensor.h>

#include <map>
#include <string>

namespace readback::train {

enum class Side { kCaptioner, kGenerator };

// "xattn_q", "xattn_kv", "xattn_qkv": query, key and value projections of the cross-attention, of BLIP's text decoder
// or of the UNet; "all"; "none". `parameters` are by checkpoint key, of the captioner or of the UNet.
// Errors: UsageError (another name), CheckpointError (a model without cross-attention).
std::map<std::string, at::Tensor> select_parameters(const std::map<std::string, at::Tensor>& parameters, Side side,
                                                    const std::string& selection);

}  // namespace readback::train
