// Hugging Face repositories on disk, as transformers and diffusers load them.
#pragma once
#include <c10/core/ScalarType.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "readback/checkpoint/safetensors.h"

namespace readback::checkpoint {

struct ModelFiles {
  std::string config = "config.json";
  std::string weights = "model.safetensors";  // diffusers' models: "diffusion_pytorch_model.safetensors"
  std::optional<c10::ScalarType> dtype = {};  // of the floating-point tensors; as they are when absent
};

// Writes a model's configuration and weights into `folder`, which is made: for a part of a pipeline, its subfolder.
// Each file is replaced atomically, weights before the configuration. The dtype is also stated in the configuration
// under "dtype" when it has a "model_type" (transformers); diffusers reads it off the weights.
// Errors: StoreError, also for a finite weight that `dtype` cannot hold.
void write_model(const std::filesystem::path& folder, nlohmann::json config, TensorMap tensors,
                 const ModelFiles& files = {});

// Writes JSON as those libraries do: keys sorted, two spaces, a line end. Errors: StoreError.
void write_json(const std::filesystem::path& path, const nlohmann::json& value);

}  // namespace readback::checkpoint
