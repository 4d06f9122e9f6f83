// The parts of a tokenizer.json, each made of what the file says about it.
#pragma once
#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace readback::text {

// A stretch of text on its way to the model.
struct Word {
  std::u32string text;
  bool at_start = false;  // it begins the whole text
};

using Normalizer = std::function<std::u32string(std::u32string)>;
using PreTokenizer = std::function<std::vector<Word>(std::vector<Word>)>;
using Decoder = std::function<std::vector<std::string>(std::vector<std::string>)>;
// Ids that a post-processor puts around a text.
struct Frame {
  std::vector<int64_t> before, after;
};

// Hostile files make texts grow without end: more characters than this are refused.
constexpr size_t kLongestText = size_t{1} << 26;
// Errors: DataError.
void require_length(size_t characters);

// Each takes the value of its key in tokenizer.json; null stands for none. `where` is the file.
// Errors: CheckpointError for a part that is not known, or its values.

// Sequence, Precompiled, Prepend, Replace, Strip, NFC, NFD, Lowercase.
Normalizer make_normalizer(const nlohmann::json& value, const std::string& where);
// Sequence, ByteLevel, Digits, Metaspace, Split, WhitespaceSplit.
PreTokenizer make_pre_tokenizer(const nlohmann::json& value, const std::string& where);
// Sequence, ByteFallback, ByteLevel, Fuse, Metaspace, Replace, Strip. None puts a space between tokens.
Decoder make_decoder(const nlohmann::json& value, const std::string& where);
// Sequence, ByteLevel, BertProcessing, RobertaProcessing, TemplateProcessing.
Frame make_frame(const nlohmann::json& value, const std::string& where);

}  // namespace readback::text
