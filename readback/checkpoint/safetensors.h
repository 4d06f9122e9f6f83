// safetensors files: https://github.com/huggingface/safetensors#format
#pragma once
#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>

namespace readback::checkpoint {

using TensorMap = std::map<std::string, at::Tensor>;

// Tensors that view the memory-mapped file (kept mapped as long as any lives; do not write to them).
// Errors: CheckpointError for truncated, overlapping or out-of-range data, giant headers, unknown types.
TensorMap load_safetensors(const std::filesystem::path& path, std::map<std::string, std::string>* metadata = nullptr);

// Written atomically, keys sorted; tensors may live on any device. Errors: StoreError.
void save_safetensors(TensorMap tensors, const std::filesystem::path& path,
                      const std::map<std::string, std::string>& metadata = {});

}  // namespace readback::checkpoint
