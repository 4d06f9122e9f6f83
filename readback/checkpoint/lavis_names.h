// The names of salesforce/BLIP and salesforce/LAVIS in transformers' words. Facts as in transformers' scripts
// convert_blip_original_pytorch_to_hf.py and convert_blip_2_original_to_pytorch.py.
#pragma once
#include "readback/checkpoint/safetensors.h"

namespace readback::checkpoint {

// BLIP that captions: "visual_encoder.…" and "text_decoder.…". What pre-training had beside them (a text encoder,
// momentum copies, queues, projections) is left out.
TensorMap blip_of_lavis(const TensorMap& tensors);

// BLIP-2: ViT, Q-Former, queries, projection and what the file has of the language model. The ViT's biases of queries
// and values become one with zeros for the keys.
TensorMap blip2_of_lavis(const TensorMap& tensors);

}  // namespace readback::checkpoint
