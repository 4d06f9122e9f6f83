// Tokenizers that are put together of the parts that tokenizer.json names.
#pragma once
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "readback/text/tokenizer.h"
#include "readback/text/tokenizer_files.h"

namespace readback::text {

// `unified` is tokenizer.json's content. Errors: CheckpointError.
std::unique_ptr<Tokenizer> load_pipeline_tokenizer(const std::filesystem::path& folder, TokenizerModel model,
                                                   const nlohmann::json& unified);

// transformers' GPT2Tokenizer from vocab.json and merges.txt, with add_prefix_space, add_bos_token and add_eos_token of
// tokenizer_config.json. Errors: CheckpointError.
std::unique_ptr<Tokenizer> load_gpt2_tokenizer(const std::filesystem::path& folder);

}  // namespace readback::text
