// Whole models in one file with the names of the code that trained them: Stable Diffusion 1.x, 2.x and XL as CompVis,
// Stability AI and web interfaces keep them, BLIP and BLIP-2 as LAVIS does. What such a file lacks, a vocabulary above
// all, comes from a base (Repository).
#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "readback/checkpoint/published.h"
#include "readback/checkpoint/safetensors.h"

namespace readback::checkpoint {

struct SingleFile {
  std::filesystem::path path;
  std::string kind;                        // "Stable Diffusion 1.x"
  std::string published;                   // a repository with what the file lacks, as an example
  std::map<std::string, TensorMap> parts;  // by subfolder, in diffusers' and transformers' names
  Configurations configurations;           // as published; empty: only a base can have them

  struct Vocabulary {
    std::string subfolder;
    bool byte_pairs = false;                // CLIP's, else BERT's words
    std::vector<std::string> padding = {};  // tokens of which it must pad with one; empty: with any
  };
  std::vector<Vocabulary> vocabularies;
};

// Errors: CheckpointError that says what the file is where it is nothing of these.
SingleFile read_single_file(const std::filesystem::path& path, TensorMap tensors);

// Whether `folder` holds configurations of such a model, so that they go before the published ones.
bool is_whole_base(const std::filesystem::path& folder, const SingleFile& file);

// The folder of `vocabulary` in `base`: its subfolder, or `base` itself. Errors: CheckpointError that says what is
// needed, and what would do.
std::filesystem::path find_vocabulary(const std::filesystem::path& base, const SingleFile& file,
                                      const SingleFile::Vocabulary& vocabulary);

}  // namespace readback::checkpoint
