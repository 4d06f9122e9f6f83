// Weights in torch.save files (pytorch_model.bin, .pt, .pth), read without running anything they contain.
#pragma once
#include <filesystem>

#include "readback/checkpoint/safetensors.h"

namespace readback::checkpoint {

// The tensors of a file that torch.save wrote (the ZIP files of torch 1.6 and later, and the format before): a
// dictionary's by its keys, nested dictionaries and lists by keys joined with "." ("state.0.exp_avg"), a single tensor
// under the key "". Tensors view the memory-mapped file, as in load_safetensors; plain numbers, strings and None beside
// them are left out. Errors: CheckpointError for damaged files, and for every call but those that make
// tensors, storages and ordered dictionaries: nothing is ever imported or run. A class as a key stands for its name.
TensorMap load_pickle(const std::filesystem::path& path);

}  // namespace readback::checkpoint
