// A Hugging Face repository on disk: a folder, or a hub id found in the standard cache; or a LoRA adapter (adapter.h),
// which is read as its base repository with the adapter added to the weights.
#pragma once
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "readback/checkpoint/adapter.h"
#include "readback/checkpoint/safetensors.h"

namespace readback::checkpoint {

class UnchangedFiles;

// Where hub ids are looked up, in this order: huggingface_hub's caches.
std::vector<std::filesystem::path> hub_caches();

class Repository {
 public:
  // `name`: a folder, a shipped repository ("emoji-scenes/captioner", in the assets), or "owner/name" looked up in
  // $HF_HUB_CACHE, $HF_HOME/hub, ~/.cache/huggingface/hub. An adapter's base is looked for under the name that it was
  // trained with, then below and beside the adapter's folder.
  // Errors: CheckpointError listing where it looked.
  explicit Repository(const std::string& name);

  const std::filesystem::path& path() const { return path_; }  // of an adapter: the base's
  bool is_adapter() const { return adapter_ != nullptr; }
  const Adapter* adapter() const { return adapter_.get(); }  // null: it is a whole model
  // The subfolders of the models that an adapter changes.
  std::vector<std::string> adapted_parts() const;
  const std::string& name() const { return name_; }
  bool has(const std::string& file) const;
  nlohmann::json json(const std::string& file = "config.json") const;  // Errors: CheckpointError

  // All tensors of the model in `subfolder`: {model,diffusion_pytorch_model}.safetensors, sharded by an index file,
  // or pytorch_model.bin / diffusion_pytorch_model.bin. What an adapter changes is fp32. Errors: CheckpointError.
  TensorMap tensors(const std::string& subfolder = "") const;

  // "sha256:" and 64 hex digits over the names, sizes and whole contents of configurations and weights (model_files.h),
  // of an adapter and of its base model: the same wherever they lie, in a hub cache too. Large files are read once
  // (base/file_digest.h). Errors: CheckpointError.
  std::string digest() const;

  // json(), tensors() and digest() of one object and its copies are about the same files: a CheckpointError says which
  // one changed since the first of these calls.

 private:
  void check_unchanged() const;
  std::string name_;
  std::filesystem::path path_, adapter_path_;
  std::shared_ptr<const Adapter> adapter_;
  std::shared_ptr<UnchangedFiles> files_;
};

}  // namespace readback::checkpoint
