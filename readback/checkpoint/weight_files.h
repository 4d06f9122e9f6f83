// Which files of a folder are a model's weights, as Hugging Face's libraries name them: safetensors or pickles, whole
// or in shards beside an index, and variants ("model.fp16.safetensors").
#pragma once
#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include "readback/checkpoint/safetensors.h"

namespace readback::checkpoint {

struct WeightFiles {
  std::filesystem::path path;  // a file of weights, or the index of its shards; empty: the folder has none
  std::string variant;         // "fp16", or empty: the files that no variant names
  bool is_index = false, is_pickle = false;
};

// Files of `variant` where the folder has them, else the files without a variant, else the only variant that there is;
// of each safetensors before pickles. Errors: CheckpointError, naming them, where there are only files of several
// variants, none of them `variant`.
WeightFiles find_weights(const std::filesystem::path& folder, const std::string& variant);

// `folders`: of a repository's parts. Errors: CheckpointError, with the variants that there are, where no file of any
// part is of `variant`; parts without one have files that no variant names, as diffusers has it.
void expect_variant(const std::string& repository, std::span<const std::filesystem::path> folders,
                    const std::string& variant);

// Errors: CheckpointError, also where index and shards disagree.
TensorMap load_weights(const WeightFiles& files);

// A file of weights, whatever its name: safetensors or a pickle. Errors: CheckpointError.
TensorMap load_weights(const std::filesystem::path& file);
bool is_pickle(const std::filesystem::path& file);  // by its first bytes
// What a file is by its first bytes, where that is known and no weights are read from it: "a GGUF file …"; and what to
// do.
struct OtherFormat {
  std::string is, next;
};
std::optional<OtherFormat> other_format(const std::filesystem::path& file);

}  // namespace readback::checkpoint
