// A Hugging Face repository on disk: a folder, or a hub id found in the standard cache.
#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "readback/checkpoint/safetensors.h"

namespace readback::checkpoint {

class Repository {
 public:
  // `name`: a folder, a shipped repository ("emoji-scenes/captioner", in the assets), or "owner/name" looked up in
  // $HF_HUB_CACHE, $HF_HOME/hub, ~/.cache/huggingface/hub.
  // Errors: CheckpointError listing where it looked.
  explicit Repository(const std::string& name);

  const std::filesystem::path& path() const { return path_; }
  const std::string& name() const { return name_; }
  bool has(const std::string& file) const;
  nlohmann::json json(const std::string& file = "config.json") const;  // Errors: CheckpointError

  // All tensors of the model in `subfolder`: {model,diffusion_pytorch_model}.safetensors, sharded by an index file,
  // or pytorch_model.bin / diffusion_pytorch_model.bin. Errors: CheckpointError.
  TensorMap tensors(const std::string& subfolder = "") const;

  // 16 hex digits over the names, sizes and contents of configuration files and over names and sizes of weights.
  std::string digest() const;

 private:
  std::string name_;
  std::filesystem::path path_;
};

}  // namespace readback::checkpoint
