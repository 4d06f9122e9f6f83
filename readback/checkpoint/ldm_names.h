// The names of the original Stable Diffusion code (CompVis/latent-diffusion, Stability-AI/generative-models and
// OpenCLIP) in diffusers' and transformers' words. Facts as in diffusers' loaders/single_file_utils.py.
#pragma once
#include <cstdint>
#include <string>

#include "readback/checkpoint/safetensors.h"

namespace readback::checkpoint {

// A module or parameter of the UNet: "input_blocks.1.0.in_layers.2.weight" → "down_blocks.0.resnets.0.conv1.weight".
// `layers_per_block`: diffusers' layers_per_block, which decides where a level begins. Other names stay as they are.
std::string unet_name_of_ldm(const std::string& name, int64_t layers_per_block);

// Whole models, named without their prefix ("model.diffusion_model."). Tensors stay views of the file but for
// OpenCLIP's projection, which is transposed.
TensorMap unet_of_ldm(const TensorMap& tensors);
TensorMap vae_of_ldm(const TensorMap& tensors);
// Layers from `layers` on are left out: Stable Diffusion 2 reads the last layer but one and never computes the last.
TensorMap text_encoder_of_open_clip(const TensorMap& tensors, int64_t layers, bool with_projection);

}  // namespace readback::checkpoint
