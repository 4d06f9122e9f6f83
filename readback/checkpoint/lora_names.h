// How other programs name the tensors of LoRA files. Facts as in diffusers' loaders/lora_conversion_utils.py and
// utils/state_dict_utils.py.
#pragma once
#include <string>

#include "readback/checkpoint/safetensors.h"

namespace readback::checkpoint {

// Whether a file with these keys is an adapter of a diffusers pipeline rather than a model.
bool is_lora(const TensorMap& tensors);

// "PART.MODULE.lora_A.weight" and "….lora_B.weight" with diffusers' names, PART a pipeline's folder, and where the file
// has them "PART.MODULE.alpha", of
//   kohya and A1111    lora_unet_down_blocks_0_…_to_q.lora_down.weight, .lora_up.weight, .alpha; lora_te_…, lora_te1_…,
//                      lora_te2_…; for XL also with the original names lora_unet_input_blocks_…
//   before PEFT        unet.….processor.to_q_lora.down.weight, also without "unet."; ….to_q.lora.down.weight,
//                      ….q_proj.lora_linear_layer.down.weight
// What has these names already stays. Errors: CheckpointError that names the kind for LoHa, LoKr, DoRA, Tucker
// decomposition and other models' LoRAs.
TensorMap lora_of_others(const TensorMap& tensors, const std::string& where);

}  // namespace readback::checkpoint
