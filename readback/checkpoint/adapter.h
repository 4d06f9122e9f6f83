// LoRA adapters on disk, as PEFT, diffusers and kohya's scripts keep them: small matrices that belong to a base
// repository. Paper: https://arxiv.org/abs/2106.09685
#pragma once
#include <filesystem>
#include <map>
#include <string>

#include "readback/checkpoint/safetensors.h"

namespace readback::checkpoint {

// What is added to a module's weight: alpha / rank · B A, of a linear layer or a convolution.
struct LowRank {
  at::Tensor a, b;  // [rank, in, …] and [out, rank, …]
  double alpha = 0;
};
using LowRankMap = std::map<std::string, LowRank>;  // by module name

struct Adapter {
  std::string base;                         // the repository that it belongs to, as it was named in training
  std::map<std::string, LowRankMap> parts;  // by subfolder of the base; "" is a repository's only model
};

// Whether `folder` holds an adapter: PEFT's adapter_config.json and adapter_model.safetensors (or .bin), or diffusers'
// pytorch_lora_weights.safetensors (or .bin) without a pipeline around it.
bool is_adapter(const std::filesystem::path& folder);

// Of such a folder, or of a file of a pipeline's LoRA in diffusers' names or others' (lora_names.h). Its base is
// `base`, else what PEFT's options or the file's metadata ("unet.base_model_name_or_path") say, or the README.md's
// "base_model". Errors: CheckpointError, naming the option, tensor or kind, for all but plain LoRA (peft_options.h):
// embeddings, modules that the options do not name, other ranks than they state.
Adapter load_adapter(const std::filesystem::path& path, const std::string& base = "");

// Adds them to the weights of `tensors`, which become fp32. An output layer that shares the matrix of the word
// embeddings gets one of its own, MODULE + kOwnWeight: PEFT leaves the embeddings as they are. `where` names the
// adapter in errors. Errors: CheckpointError (a module without a weight, or of another shape).
void add_low_rank(TensorMap& tensors, const LowRankMap& modules, const std::string& where);

// The adapter that adds what both add: of the sum of their greatest ranks, with alpha equal to the rank.
LowRankMap stacked(const LowRankMap& first, const LowRankMap& second);

inline const std::string kOwnWeight = ".own_weight";

// Writes `modules`, which are all of one rank and alpha, in fp32: for PeftModel.from_pretrained of a
// BlipForConditionalGeneration, and for load_lora_weights of a diffusers pipeline. Errors: StoreError.
void save_peft_adapter(const std::filesystem::path& folder, const std::string& base, const LowRankMap& modules);
void save_diffusers_adapter(const std::filesystem::path& folder, const std::string& base, const std::string& part,
                            const LowRankMap& modules);

}  // namespace readback::checkpoint
