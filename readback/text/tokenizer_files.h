// What a repository's tokenizer files say, read as transformers 5 reads them.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "readback/text/vocabulary_map.h"

namespace readback::text {

// A token that is cut out of the text before the model sees it.
struct AddedToken {
  std::string content;
  bool single_word = false;  // only between non-word characters
  bool lstrip = false;       // takes the white space on its left with it
  bool rstrip = false;
  bool normalized = true;  // looked for in the normalised text, not in the text as given
  bool special = false;    // left out of decoded text
  bool operator==(const AddedToken&) const = default;
};

struct TokenizerFiles {
  VocabularyMap vocabulary;
  std::vector<std::pair<std::string, std::string>> merges;  // byte-pair encoding only, best first
  std::vector<std::pair<std::string, double>> pieces;       // unigram only: tokens with their scores, by id
  std::vector<AddedToken> added_tokens;                     // in the order of being added; a later one replaces
  std::map<std::string, std::string> special_tokens;        // "bos_token" → "<|startoftext|>", …
  std::optional<int64_t> model_max_length;
  bool do_lower_case = true;
  bool tokenize_chinese_chars = true;
  std::optional<bool> strip_accents;
  bool clean_up_tokenization_spaces = false;
  bool clean_up_byte_pairs_too = false;  // clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output
  bool split_special_tokens = false;
  bool add_prefix_space = false;
  bool add_bos_token = false;
  bool add_eos_token = false;
};

// A JSON object of a file; an empty one where the file is absent. Errors: CheckpointError.
nlohmann::json read_json_object(const std::filesystem::path& path);

// tokenizer.json where there is one, else vocab.txt (or vocab.json and merges.txt); with tokenizer_config.json,
// special_tokens_map.json and added_tokens.json, all optional. `defaults` are the class's special tokens.
// Errors: CheckpointError.
enum class TokenizerModel { kWordPiece, kBytePairs, kUnigram };
TokenizerFiles read_tokenizer_files(const std::filesystem::path& folder, TokenizerModel model,
                                    const std::map<std::string, std::string>& defaults);

// The same of a class that keeps all of tokenizer.json (transformers' TokenizersBackend), whose content is `unified`,
// empty where there is none: its added tokens come before those of tokenizer_config.json. Padding may be on either
// side, since nothing is padded here.
TokenizerFiles read_pipeline_files(const std::filesystem::path& folder, TokenizerModel model,
                                   const nlohmann::json& unified, const std::map<std::string, std::string>& defaults);

}  // namespace readback::text
