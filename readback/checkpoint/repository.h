// A Hugging Face repository on disk: a folder, or a hub id found in the standard cache; or a LoRA adapter (adapter.h),
// which is read as its base repository with the adapter added to the weights; or a model in one file (single_file.h),
// which is read as a repository of which a base has what the file lacks.
#pragma once
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "readback/checkpoint/adapter.h"
#include "readback/checkpoint/model_files.h"
#include "readback/checkpoint/safetensors.h"
#include "readback/checkpoint/single_file.h"

namespace readback::checkpoint {

// Where hub ids are looked up, in this order: huggingface_hub's caches.
std::vector<std::filesystem::path> hub_caches();

class Repository {
 public:
  // `name`: a folder, a shipped repository ("emoji-scenes/captioner", in the assets), or "owner/name" looked up in
  // $HF_HUB_CACHE, $HF_HOME/hub, ~/.cache/huggingface/hub; or a file of weights. "ADAPTER@BASE" and "FILE@BASE" give an
  // adapter or a file its base, in any of these forms. An adapter's base is else looked for under the name that it was
  // trained with, then below and beside the adapter's folder; a file's base is else its folder.
  // `variant`: "fp16" takes files such as model.fp16.safetensors in the parts that have some (weight_files.h).
  // Errors: CheckpointError listing where it looked, or saying what a file is or lacks, or which variants there are
  // where no part has this one.
  // `contents`: with kHeaders tensors() has shapes and types on the meta device, and digest() is empty, so that nothing
  // large is read: for saying what a repository is.
  enum class Contents { kAll, kHeaders };
  explicit Repository(const std::string& name, const std::string& variant = "", Contents contents = Contents::kAll);

  const std::filesystem::path& path() const { return path_; }  // of an adapter or a file: the base's
  bool is_adapter() const { return adapter_ != nullptr; }
  const Adapter* adapter() const { return adapter_.get(); }  // null: it is a whole model
  // The subfolders of the models that an adapter changes.
  std::vector<std::string> adapted_parts() const;
  const std::string& name() const { return name_; }
  std::string title() const;  // the name and, where there is more to say, which files were taken or what the file is
  bool is_single_file() const { return single_file_ != nullptr; }
  bool has(const std::string& file) const;
  bool is_on_disk(const std::filesystem::path& file) const;  // below path(), and not a published configuration
  std::filesystem::path vocabulary(const std::string& subfolder = "") const;  // the folder of a tokenizer's files
  nlohmann::json json(const std::string& file = "config.json") const;         // Errors: CheckpointError

  // All tensors of the model in `subfolder` (weight_files.h), which view the mapped files in the type that they are
  // stored in. What an adapter changes is fp32. Errors: CheckpointError.
  TensorMap tensors(const std::string& subfolder = "") const;

  // "sha256:" and 64 hex digits over the names, sizes and whole contents of configurations and weights (model_files.h),
  // of an adapter and of its base model: the same wherever they lie, in a hub cache too; another for another variant.
  // Large files are read once (base/file_digest.h). Errors: CheckpointError.
  std::string digest() const;

  // json(), tensors() and digest() of one object and its copies are about the same files: a CheckpointError says which
  // one changed since the first of these calls.

 private:
  void open(const std::string& name, const std::string& base);
  void open_file(const std::filesystem::path& file, const std::string& base);
  void open_adapter(const std::filesystem::path& path, const std::string& base);
  void check_unchanged() const;
  std::vector<std::string> folders() const;
  std::vector<std::string> taken_variants() const;
  FileList own_files() const;  // of the base and what is beside it
  FileList adapter_files() const;
  std::string name_, variant_;
  Contents contents_;
  std::filesystem::path path_, adapter_path_;
  std::shared_ptr<const SingleFile> single_file_;
  bool whole_base_ = false;  // of a single file: it has configurations, too
  std::shared_ptr<const Adapter> adapter_;
  std::shared_ptr<UnchangedFiles> files_;
};

}  // namespace readback::checkpoint
