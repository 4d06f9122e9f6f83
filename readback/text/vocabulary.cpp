#include "readback/text/vocabulary.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <utility>

#include "readback/base/files.h"
#include "readback/text/bert_words.h"
#include "readback/text/byte_pairs.h"
#include "readback/text/unicode.h"

namespace readback::text {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

// Tokens in the order of their ids, each once.
class TokenList {
 public:
  int64_t add(const std::string& token) {
    const auto [entry, is_new] = ids_.emplace(token, static_cast<int64_t>(tokens_.size()));
    if (is_new) tokens_.push_back(token);
    return entry->second;
  }
  const std::vector<std::string>& tokens() const { return tokens_; }
  Json json() const {
    Json vocabulary = Json::object();
    for (size_t id = 0; id < tokens_.size(); ++id) vocabulary[tokens_[id]] = id;
    return vocabulary;
  }

 private:
  std::vector<std::string> tokens_;
  std::unordered_map<std::string, int64_t> ids_;
};

void write_json(const fs::path& path, const Json& json) { write_file(path, json.dump(2) + "\n"); }

Json added_token(const std::string& content, bool normalized) {
  return {{"content", content}, {"lstrip", false},      {"normalized", normalized},
          {"rstrip", false},    {"single_word", false}, {"special", true}};
}

// tokenizer.json's list of (id, token) and tokenizer_config.json's map of the same.
std::pair<Json, Json> added_tokens(const std::vector<std::pair<int64_t, std::string>>& tokens, bool normalized) {
  Json list = Json::array(), map = Json::object();
  for (const auto& [id, content] : tokens) {
    Json token{{"id", id}};
    token.update(added_token(content, normalized));
    list.push_back(token);
    map[std::to_string(id)] = added_token(content, normalized);
  }
  return {list, map};
}

Json unified(const Json& added, const Json& normalizer, const Json& pre_tokenizer, const Json& post_processor,
             const Json& decoder, const Json& model) {
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", added},
          {"normalizer", normalizer},
          {"pre_tokenizer", pre_tokenizer},
          {"post_processor", post_processor},
          {"decoder", decoder},
          {"model", model}};
}

Json bert_template(int64_t begin, int64_t end) {
  const auto special = [](const char* token, int type) {
    return Json{{"SpecialToken", {{"id", token}, {"type_id", type}}}};
  };
  const auto sequence = [](const char* name, int type) {
    return Json{{"Sequence", {{"id", name}, {"type_id", type}}}};
  };
  const auto entry = [](const char* token, int64_t id) {
    return Json{{"id", token}, {"ids", Json::array({id})}, {"tokens", Json::array({token})}};
  };
  return {{"type", "TemplateProcessing"},
          {"single", Json::array({special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0)})},
          {"pair", Json::array({special("[CLS]", 0), sequence("A", 0), special("[SEP]", 0), sequence("B", 1),
                                special("[SEP]", 1)})},
          {"special_tokens", {{"[CLS]", entry("[CLS]", begin)}, {"[SEP]", entry("[SEP]", end)}}}};
}

// The 256 bytes' characters in the order of OpenAI's vocabulary: those that stay themselves first.
std::vector<std::pair<uint8_t, std::string>> ordered_bytes() {
  constexpr auto kAlphabet = byte_alphabet();
  std::vector<std::pair<uint8_t, std::string>> result;
  for (const bool themselves : {true, false}) {
    for (size_t byte = 0; byte < 256; ++byte) {
      if ((kAlphabet[byte] == byte) != themselves) continue;
      std::string character;
      append_utf8(character, kAlphabet[byte]);
      result.emplace_back(static_cast<uint8_t>(byte), character);
    }
  }
  return result;
}

}  // namespace

void write_bert_vocabulary(const fs::path& folder, const std::vector<std::string>& words, int64_t model_max_length) {
  TokenList list;
  for (const char* token : {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}) list.add(token);
  for (const char* prefix : {"", "##"}) {
    for (char c = 'a'; c <= 'z'; ++c) list.add(prefix + std::string(1, c));
    for (char c = '0'; c <= '9'; ++c) list.add(prefix + std::string(1, c));
  }
  for (char c = '!'; c <= '~'; ++c) {
    if (is_bert_punctuation(static_cast<char32_t>(c))) list.add(std::string(1, c));
  }
  for (const std::string& text : words) {
    for_each_bert_word(bert_normalize(decode_utf8(text), {}),
                       [&](std::u32string_view word) { list.add(encode_utf8(word)); });
  }
  const int64_t decoder_token = list.add("[DEC]"), encoder_token = list.add("[ENC]");

  std::string lines;
  for (const std::string& token : list.tokens()) lines += token + "\n";
  write_file(folder / "vocab.txt", lines);

  const auto [added, added_decoder] = added_tokens({{0, "[PAD]"},
                                                    {1, "[UNK]"},
                                                    {2, "[CLS]"},
                                                    {3, "[SEP]"},
                                                    {4, "[MASK]"},
                                                    {decoder_token, "[DEC]"},
                                                    {encoder_token, "[ENC]"}},
                                                   false);
  write_json(folder / "tokenizer.json", unified(added,
                                                {{"type", "BertNormalizer"},
                                                 {"clean_text", true},
                                                 {"handle_chinese_chars", true},
                                                 {"strip_accents", nullptr},
                                                 {"lowercase", true}},
                                                {{"type", "BertPreTokenizer"}}, bert_template(2, 3),
                                                {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}},
                                                {{"type", "WordPiece"},
                                                 {"unk_token", "[UNK]"},
                                                 {"continuing_subword_prefix", "##"},
                                                 {"max_input_chars_per_word", 100},
                                                 {"vocab", list.json()}}));
  const Json special{{"bos_token", "[DEC]"},
                     {"cls_token", "[CLS]"},
                     {"mask_token", "[MASK]"},
                     {"pad_token", "[PAD]"},
                     {"sep_token", "[SEP]"},
                     {"unk_token", "[UNK]"},
                     {"additional_special_tokens", Json::array({"[ENC]"})}};
  write_json(folder / "special_tokens_map.json", special);
  Json config{{"tokenizer_class", "BertTokenizer"},
              {"processor_class", "BlipProcessor"},
              {"do_lower_case", true},
              {"strip_accents", nullptr},
              {"tokenize_chinese_chars", true},
              {"clean_up_tokenization_spaces", true},
              {"model_max_length", model_max_length},
              {"added_tokens_decoder", added_decoder}};
  config.update(special);
  write_json(folder / "tokenizer_config.json", config);
}

void write_clip_vocabulary(const fs::path& folder, const std::vector<std::string>& words, int64_t model_max_length) {
  TokenList list;
  BytePairs pairs;
  for (const auto& [byte, character] : ordered_bytes()) pairs.inner[byte] = list.add(character);
  for (const auto& [byte, character] : ordered_bytes()) {
    pairs.last[byte] = list.add(character + std::string(kEndOfWord));
  }
  // A merge added last changes no word that earlier merges make whole, so each word can be settled in its turn.
  Json merges = Json::array();
  std::string merge_lines = "#version: 0.2\n";
  const auto settle = [&](const std::string& word) {
    for (auto ids = pairs.apply(word); ids.size() > 1; ids = pairs.apply(word)) {
      const std::string left = list.tokens()[static_cast<size_t>(ids[0])];
      const std::string right = list.tokens()[static_cast<size_t>(ids[1])];
      pairs.add(ids[0], ids[1], list.add(left + right));
      merges.push_back(Json::array({left, right}));
      merge_lines.append(left).append(" ").append(right).append("\n");
    }
  };
  for (const std::string& text : words) {
    const std::u32string normalized = clip_normalize(decode_utf8(text));
    for (std::u32string_view rest = normalized; !rest.empty();) {
      const size_t size = clip_word_size(rest);
      settle(encode_utf8(rest.substr(0, size)));
      rest.remove_prefix(std::max<size_t>(size, 1));
    }
  }
  const char* begin = "<|startoftext|>";
  const char* end = "<|endoftext|>";
  const int64_t begin_id = list.add(begin), end_id = list.add(end);

  write_json(folder / "vocab.json", list.json());
  write_file(folder / "merges.txt", merge_lines);
  const auto [added, added_decoder] = added_tokens({{begin_id, begin}, {end_id, end}}, true);
  const Json split{{"type", "Split"},
                   {"pattern",
                    {{"Regex", R"(<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|)"
                               R"([^\s\p{L}\p{N}]+)"}}},
                   {"behavior", "Removed"},
                   {"invert", true}};
  const Json byte_level{
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  const Json white_space{{"type", "Replace"}, {"pattern", {{"Regex", R"(\s+)"}}}, {"content", " "}};
  write_json(folder / "tokenizer.json",
             unified(added,
                     {{"type", "Sequence"},
                      {"normalizers", Json::array({Json{{"type", "NFC"}}, white_space, Json{{"type", "Lowercase"}}})}},
                     {{"type", "Sequence"}, {"pretokenizers", Json::array({split, byte_level})}},
                     {{"type", "RobertaProcessing"},
                      {"sep", Json::array({end, end_id})},
                      {"cls", Json::array({begin, begin_id})},
                      {"trim_offsets", false},
                      {"add_prefix_space", false}},
                     {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", true}, {"use_regex", true}},
                     {{"type", "BPE"},
                      {"dropout", nullptr},
                      {"unk_token", end},
                      {"continuing_subword_prefix", ""},
                      {"end_of_word_suffix", kEndOfWord},
                      {"fuse_unk", false},
                      {"byte_fallback", false},
                      {"ignore_merges", false},
                      {"vocab", list.json()},
                      {"merges", merges}}));
  const Json special{{"bos_token", added_token(begin, true)},
                     {"eos_token", added_token(end, true)},
                     {"pad_token", end},
                     {"unk_token", added_token(end, true)}};
  write_json(folder / "special_tokens_map.json", special);
  write_json(folder / "tokenizer_config.json", {{"tokenizer_class", "CLIPTokenizer"},
                                                {"bos_token", begin},
                                                {"eos_token", end},
                                                {"pad_token", end},
                                                {"unk_token", end},
                                                {"add_prefix_space", false},
                                                {"do_lower_case", true},
                                                {"errors", "replace"},
                                                {"model_max_length", model_max_length},
                                                {"added_tokens_decoder", added_decoder}});
}

}  // namespace readback::text
